-- Checks a password that a client sends in clear under TLS (PLAIN, LOGIN) against the users file.
--
-- Dovecot 2.4.1 takes 0.15 s of processor time for the 100 000 rounds of SCRAM-SHA-256. `passdb passwd-file` does so for every login,
-- since its cache holds what the file has, and one login waits for the other in the one auth process. Here no password
-- goes back, so the cache holds a SHA-1 of what the user sent: in memory, for auth_cache_ttl, and the next login takes no
-- computing. After that the file is looked at again, and what was computed is remembered (proved.lua), or everybody's first login of each
-- hour would wait for those of others. SCRAM's own mechanism, where the client does the work, goes past this (20-auth.conf).

local users, is_right

function script_init(arguments)
  users = arguments.users
  is_right = dofile("/etc/dovecot/proved.lua")(tonumber(arguments.remember))
  return 0
end

-- libexec/directory/sync empties the cache for users who changed.
function auth_passdb_get_cache_key()
  return "%{user}"
end

-- What the file has of the user: "{SCHEME}verifier", nil when there is no such user.
local function verifier_of(user)
  local start = user .. ":"
  for line in io.lines(users) do
    if line:sub(1, #start) == start then return line:match("^[^:]*:([^:]*)") end
  end
  return nil
end

function auth_password_verify(request, password)
  local verifier = verifier_of(request.user)
  if verifier == nil then return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, nil end
  local result, problem = is_right(request, password, verifier)
  if result > 0 then return dovecot.auth.PASSDB_RESULT_OK, {} end
  if result == 0 then return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil end
  return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, request.user .. ": " .. (problem or "no reason given")
end
