-- What SCRAM asks of a client that says to be somebody who has no password here: a challenge like everybody's, or it would tell who is a
-- user before any password (RFC 5802, 9). Nobody can answer it: the keys of the verifier are nobody's.
--
-- The salt is always the same for a name and on all nodes, as a user's is: a hash of the name and of what all nodes know and
-- nobody else, the password of the hop. For users it is computed, too, and not used, so that both take the same time (20-auth.conf).

-- As bin/users/password.ts makes them.
local ROUNDS = 100000
local NO_KEY = ("A"):rep(43) .. "="

local gives_challenge, secret

function script_init(arguments)
  gives_challenge = arguments.challenge == "yes"
  local file = io.open(arguments.secret, "r")
  if file then
    -- Nothing that would mean something below.
    secret = (file:read("l") or ""):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
    file:close()
  end
  return 0
end

function auth_passdb_lookup(request)
  -- Other nodes and doveadm ask without a mechanism whether there is such a user.
  if (request.mechanism or ""):upper() ~= "SCRAM-SHA-256" then return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, nil end
  if not secret then return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, "no password of the hop to make a salt from" end
  local salt = request:var_expand("%{user | sha256(salt='scram " .. secret .. "') | substr(0, 16) | base64}")
  if not gives_challenge then return dovecot.auth.PASSDB_RESULT_OK, {} end
  return dovecot.auth.PASSDB_RESULT_OK, { password = ("{SCRAM-SHA-256}%d,%s,%s,%s"):format(ROUNDS, salt, NO_KEY, NO_KEY) }
end
