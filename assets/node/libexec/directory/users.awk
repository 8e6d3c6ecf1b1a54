# Checks a users file and splits it for Dovecot and Postfix: awk -v domains='a.org b.org' -v out=FOLDER -f users.awk FILE
# A line is user@domain:{SCRAM-SHA-256}iterations,salt,storedKey,serverKey:::::: with, after the last colon, optional fields:
#   userdb_quota_storage_size=10G
#   aliases=sales@a.org,info@a.org           an alias of several users goes to all, and all may send from it; it may have letters beyond ASCII (RFC 6531)
#   aliases=@a.org                           also whatever nobody has in the domain (catch-all)
#   groups=team@a.org                        mail to a group goes to all who have it here; none of them may send from it
#   shard=2                                  the mail is on shard-2, where mail is on shards
#   protocols=imap+smtp                      the user logs in by these only (imap, pop3, smtp, sieve)
#   login=second-factor                      the password is good nowhere; tokens and app passwords are
#   login=none                               nobody logs in; mail is taken
#   app_password=ID,NAME,imap+smtp,iterations,salt,storedKey,serverKey    as often as there are any
# A line @domain::::::: with one of the two login= fields, or both or none, does so for all users of the domain.
# Writes users, scram-users (without those whose password is good nowhere), app-passwords, no-login, protocols, shards, mailboxes, aliases and
# senders to FOLDER. Prints what is wrong, a line each, and then ends with 1.

BEGIN {
  FS = ":"
  count = split(domains, list, " ")
  for (i = 1; i <= count; i++) ours[list[i]] = 1
  # For users whose password is good nowhere: no password has this verifier. SCRAM knows them from nobody (scram.lua).
  nobody = "{SCRAM-SHA-256}100000,bm8gcGFzc3dvcmQgaGFzIGl0,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
  files = split("users scram-users app-passwords no-login protocols shards mailboxes aliases senders", name, " ")
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

function check_protocols(text, whose,   protocol, m, j) {
  m = split(text, protocol, "+")
  if (m == 0) wrong(whose " is for no protocol")
  for (j = 1; j <= m; j++) if (protocol[j] !~ /^(imap|pop3|smtp|sieve)$/) wrong(whose " is for the unknown protocol '" protocol[j] "'")
}

# Adds the user to those whom mail to each of the names goes to; to those who may send from it, too, if it is an alias.
function read_names(text, kind,   name, m, j) {
  m = split(text, name, ",")
  for (j = 1; j <= m; j++) {
    if (!(kind == "alias" ? is_alias(name[j]) : is_address(name[j]))) { wrong(kind " '" name[j] "' of " user " is no lower-case address in " domains); continue }
    if (kind == "alias") senders[name[j]] = senders[name[j]] (senders[name[j]] == "" ? "" : ", ") user
    if ((name[j], user) in owned) continue
    owned[name[j], user] = 1
    owners[name[j]] = owners[name[j]] (owners[name[j]] == "" ? "" : ", ") user
  }
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
  check_protocols(part[3], "an app password of " user)
  app_passwords[user] = app_passwords[user] user ":" part[1] ":" part[3] ":" part[2] ":" verifier "\n"
}

/^#/ || /^[ \t\r]*$/ { next }
/[\r]/ { wrong("has a carriage return; save the file with Unix line ends"); next }

/^@/ {
  if (!(substr($1, 2) in ours)) wrong("'" substr($1, 2) "' is none of " domains)
  if (NF != 8 || $2 $3 $4 $5 $6 $7 != "") wrong("a line for a domain must be @domain::::::: and fields")
  n = split($8, field, " ")
  for (i = 1; i <= n; i++) {
    if (field[i] == "login=second-factor") second_factor[substr($1, 2)] = 1
    else if (field[i] == "login=none") disabled[substr($1, 2)] = 1
    else wrong("unknown field '" field[i] "' of " $1)
  }
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
      read_names(substr(field[i], length("aliases=") + 1), "alias")
    } else if (field[i] ~ /^groups=/) {
      read_names(substr(field[i], length("groups=") + 1), "group")
    } else if (field[i] ~ /^shard=[1-9][0-9]?$/) {
      shard[user] = "shard-" substr(field[i], length("shard=") + 1)
    } else if (field[i] ~ /^protocols=/) {
      protocols[user] = substr(field[i], length("protocols=") + 1)
      check_protocols(protocols[user], user)
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
  for (alias_name in owners) if (alias_name in seen) { print "alias or group '" alias_name "' is a mailbox too"; failed = 1 }
  if (failed) exit 1
  for (i = 1; i <= users; i++) {
    user = order[i]
    domain = substr(user, index(user, "@") + 1)
    if (domain in disabled) disabled[user] = 1
    without_password = user in disabled || user in second_factor || domain in second_factor
    print user ":" (without_password ? nobody : verifier_of[user]) "::::::" extra_of[user] > (out "/users")
    if (!without_password) print user ":" verifier_of[user] "::::::" extra_of[user] > (out "/scram-users")
    if (user in disabled) print user > (out "/no-login")
    else printf "%s", app_passwords[user] > (out "/app-passwords")
    if (user in protocols) print user ":" protocols[user] > (out "/protocols")
    if (user in shard) print user ":" shard[user] > (out "/shards")
    print user, "mailbox" > (out "/mailboxes")
    print user, user > (out "/senders")
    # Postfix would ask for the catch-all, too.
    if (substr(user, index(user, "@")) in owners) print user, user > (out "/aliases")
  }
  for (alias_name in owners) print alias_name, owners[alias_name] > (out "/aliases")
  for (alias_name in senders) print alias_name, senders[alias_name] > (out "/senders")
}
