require ["fileinto", "mailbox"];

# Only libexec/inbound writes this header; Postfix removes it from other mail.
if header :is "X-Inbound-Verdict" "junk" {
  fileinto :create "Junk";
  stop;
}
