# Checks a users file and splits it for Dovecot and Postfix: awk -v domains='a.org b.org' -v out=FOLDER -f users.awk FILE
# A line is user@domain:{SCRAM-SHA-256}iterations,salt,storedKey,serverKey:::::: with, after the last colon, optional fields:
#   userdb_quota_storage_size=10G
#   aliases=sales@a.org,info@a.org           an alias of several users goes to all; it may have letters beyond ASCII (RFC 6531)
#   aliases=@a.org                           also whatever nobody has in the domain (catch-all)
#   login=second-factor                      the password is good nowhere; tokens and app passwords are
#   login=none                               nobody logs in; mail is taken
#   app_password=ID,NAME,imap+smtp,iterations,salt,storedKey,serverKey    as often as there are any
# A line @domain:::::::login=second-factor does so for all users of the domain.
# Writes users, app-passwords, no-login, mailboxes, aliases and senders to FOLDER. Prints what is wrong, a line each, and then
# ends with 1.

BEGIN {
  FS = ":"
  count = split(domains, list, " ")
  for (i = 1; i <= count; i++) ours[list[i]] = 1
  # For users whose password is good nowhere: no password has this verifier, and clients can't tell.
  nobody = "{SCRAM-SHA-256}100000,bm8gcGFzc3dvcmQgaGFzIGl0,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
  files = split("users app-passwords no-login mailboxes aliases senders", name, " ")
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

# Names no folder: what lies between blanks, commas and @ may be any text that is UTF-8. In lower case; Postfix folds the rest.
function is_alias(text,   at) {
  at = index(text, "@")
  return text ~ /^([a-z0-9\200-\377][a-z0-9._\200-\377-]*)?@[a-z0-9.-]+$/ && (substr(text, at + 1) in ours)
}

function is_verifier(text,   part, n) {
  if (text !~ /^\{SCRAM-SHA-256\}[0-9]+,[A-Za-z0-9+\/]+=*,[A-Za-z0-9+\/]+=*,[A-Za-z0-9+\/]+=*$/) return 0
  n = split(substr(text, length("{SCRAM-SHA-256}") + 1), part, ",")
  return n == 4 && length(part[3]) == 44 && length(part[4]) == 44
}

# Checks and keeps an app password of the user.
function read_app_password(text,   part, n, protocol, m, j, verifier) {
  n = split(text, part, ",")
  verifier = "{SCRAM-SHA-256}" part[4] "," part[5] "," part[6] "," part[7]
  if (n != 7 || !is_verifier(verifier) || part[4] + 0 < 100000 || part[1] !~ /^[a-z2-7][a-z2-7][a-z2-7][a-z2-7]$/ || part[2] !~ /^[A-Za-z0-9._-]+$/) {
    wrong("an app password of " user " is not ID,NAME,PROTOCOLS and a SCRAM-SHA-256 verifier of 100000 iterations or more")
    return
  }
  if ((user, part[1]) in app_seen) { wrong("two app passwords of " user " have the id " part[1]); return }
  app_seen[user, part[1]] = 1
  m = split(part[3], protocol, "+")
  for (j = 1; j <= m; j++) if (protocol[j] !~ /^(imap|pop3|smtp|sieve)$/) wrong("an app password of " user " is for the unknown protocol '" protocol[j] "'")
  app_passwords[user] = app_passwords[user] user ":" part[1] ":" part[3] ":" part[2] ":" verifier "\n"
}

/^#/ || /^[ \t\r]*$/ { next }
/[\r]/ { wrong("has a carriage return; save the file with Unix line ends"); next }

/^@/ {
  if (!(substr($1, 2) in ours)) wrong("'" substr($1, 2) "' is none of " domains)
  if (NF != 8 || $2 $3 $4 $5 $6 $7 != "" || $8 != "login=second-factor") wrong("a line for a domain must be @domain:::::::login=second-factor")
  second_factor[substr($1, 2)] = 1
  next
}

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
        if (!is_alias(alias[j])) { wrong("alias '" alias[j] "' of " user " is no lower-case address in " domains); continue }
        owners[alias[j]] = owners[alias[j]] (owners[alias[j]] == "" ? "" : ", ") user
      }
    } else if (field[i] == "login=second-factor") {
      second_factor[user] = 1
    } else if (field[i] == "login=none") {
      disabled[user] = 1
    } else if (field[i] ~ /^app_password=/) {
      read_app_password(substr(field[i], length("app_password=") + 1))
    } else {
      wrong("unknown field '" field[i] "' of " user)
    }
  }
  order[++users] = user
  verifier_of[user] = $2
  extra_of[user] = extra
}

END {
  for (alias_name in owners) if (alias_name in seen) { print "alias '" alias_name "' is a mailbox too"; failed = 1 }
  if (failed) exit 1
  for (i = 1; i <= users; i++) {
    user = order[i]
    without_password = user in disabled || user in second_factor || substr(user, index(user, "@") + 1) in second_factor
    print user ":" (without_password ? nobody : verifier_of[user]) "::::::" extra_of[user] > (out "/users")
    if (user in disabled) print user > (out "/no-login")
    else printf "%s", app_passwords[user] > (out "/app-passwords")
    print user, "mailbox" > (out "/mailboxes")
    print user, user > (out "/senders")
    # Postfix would ask for the catch-all, too.
    if (substr(user, index(user, "@")) in owners) print user, user > (out "/aliases")
  }
  for (alias_name in owners) {
    print alias_name, owners[alias_name] > (out "/aliases")
    print alias_name, owners[alias_name] > (out "/senders")
  }
}
