# Checks a users file and splits it for Dovecot and Postfix: awk -v domains='a.org b.org' -v out=FOLDER -f users.awk FILE
# A line is user@domain:{SCRAM-SHA-256}iterations,salt,storedKey,serverKey:::::: with, after the last colon, optional
# fields userdb_quota_storage_size=10G and aliases=sales@a.org,info@a.org (an alias of several users goes to all).
# Writes users, mailboxes, aliases and senders to FOLDER. Prints what is wrong, a line each, and then ends with 1.

BEGIN {
  FS = ":"
  count = split(domains, list, " ")
  for (i = 1; i <= count; i++) ours[list[i]] = 1
  files = split("users mailboxes aliases senders", name, " ")
  for (i = 1; i <= files; i++) printf "" > (out "/" name[i])
}

function wrong(what) {
  print "line " NR ": " what
  failed = 1
}

# The part before @ names a folder on the store, so it starts with a letter or digit and holds no slash.
function is_address(text,   at) {
  at = index(text, "@")
  return text ~ /^[a-z0-9][a-z0-9._-]*@[a-z0-9.-]+$/ && (substr(text, at + 1) in ours)
}

function is_verifier(text,   part, n) {
  if (text !~ /^\{SCRAM-SHA-256\}[0-9]+,[A-Za-z0-9+\/]+=*,[A-Za-z0-9+\/]+=*,[A-Za-z0-9+\/]+=*$/) return 0
  n = split(substr(text, length("{SCRAM-SHA-256}") + 1), part, ",")
  return n == 4 && length(part[3]) == 44 && length(part[4]) == 44
}

/^#/ || /^[ \t\r]*$/ { next }
/[\r]/ { wrong("has a carriage return; save the file with Unix line ends"); next }

{
  user = $1
  if (NF != 8) { wrong("has " NF " fields, expected 8 with colons between"); next }
  if (!is_address(user)) { wrong("'" user "' is no lower-case address in " domains); next }
  if (user in seen) { wrong("'" user "' was there before, in line " seen[user]); next }
  seen[user] = NR
  if (!is_verifier($2)) { wrong("the password of " user " is no {SCRAM-SHA-256} verifier"); next }
  iterations = substr($2, length("{SCRAM-SHA-256}") + 1) + 0
  if (iterations < 100000) { wrong("the password of " user " has " iterations " iterations, expected 100000 or more"); next }
  if ($3 $4 $5 $6 $7 != "") { wrong("user id, group id, name, home and shell of " user " must be empty"); next }

  extra = ""
  n = split($8, field, " ")
  for (i = 1; i <= n; i++) {
    if (field[i] ~ /^userdb_quota_storage_size=[1-9][0-9]*[KMGT]$/) {
      extra = extra (extra == "" ? "" : " ") field[i]
    } else if (field[i] ~ /^aliases=/) {
      m = split(substr(field[i], length("aliases=") + 1), alias, ",")
      for (j = 1; j <= m; j++) {
        if (!is_address(alias[j])) { wrong("alias '" alias[j] "' of " user " is no lower-case address in " domains); continue }
        owners[alias[j]] = owners[alias[j]] (owners[alias[j]] == "" ? "" : ", ") user
      }
    } else {
      wrong("unknown field '" field[i] "' of " user)
    }
  }
  line[++users] = user ":" $2 "::::::" extra
  order[users] = user
}

END {
  for (alias_name in owners) if (alias_name in seen) { print "alias '" alias_name "' is a mailbox too"; failed = 1 }
  if (failed) exit 1
  for (i = 1; i <= users; i++) {
    print line[i] > (out "/users")
    print order[i], "mailbox" > (out "/mailboxes")
    print order[i], order[i] > (out "/senders")
  }
  for (alias_name in owners) {
    print alias_name, owners[alias_name] > (out "/aliases")
    print alias_name, owners[alias_name] > (out "/senders")
  }
}
