require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

# Spam that is thrown away stays spam.
if environment :matches "imap.mailbox" "*" {
  set "mailbox" "${1}";
}
if string :is "${mailbox}" "Trash" {
  stop;
}
pipe :copy "keep" ["ham"];
