require ["fileinto", "mailbox"];

# rspamd removes such a header that came with the message.
if header :is "X-Spam" "Yes" {
  fileinto :create "Junk";
  stop;
}
