require ["vnd.dovecot.pipe", "copy", "imapsieve"];

pipe :copy "keep" ["spam"];
