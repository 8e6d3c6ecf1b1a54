-- Checks app passwords: a user has one for each device or program, good for some protocols only. They come in clear under TLS (PLAIN,
-- LOGIN): SCRAM's server must know which password is meant before the client has proved that it has it.
--
-- An app password begins with an id of four characters and a hyphen, so that one verifier is computed, not all of the user's. What
-- was found right is remembered by its verifier (proved.lua): a password that is gone from the file is gone here, and its protocols are
-- looked up each time. So there is no auth_passdb_get_cache_key(), whose cache would know neither.

local app_passwords
local is_right = dofile("/etc/dovecot/proved.lua")(100000)

function script_init(arguments)
  app_passwords = arguments.app_passwords
  return 0
end

-- Protocols and "{SCHEME}verifier" of the user's app password with that id, nil when there is none.
local function find(user, id)
  local start = user .. ":" .. id .. ":"
  for line in io.lines(app_passwords) do
    if line:sub(1, #start) == start then return line:sub(#start + 1):match("^([^:]*):[^:]*:(.*)$") end
  end
  return nil
end

function auth_password_verify(request, password)
  local id = password:match("^([a-z2-7][a-z2-7][a-z2-7][a-z2-7])%-")
  local protocols, verifier
  if id then protocols, verifier = find(request.user, id) end
  if not verifier then return dovecot.auth.PASSDB_RESULT_NEXT, nil end

  local result, problem = is_right(request, password, verifier)
  if result < 0 then
    return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, request.user .. ": " .. (problem or "no reason given")
  end
  if result == 0 then return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil end
  if not ("+" .. protocols .. "+"):find("+" .. request.protocol .. "+", 1, true) then
    request:log_info("app password " .. id .. " is for " .. protocols .. ", not " .. request.protocol)
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  request:log_info("app password " .. id)
  return dovecot.auth.PASSDB_RESULT_OK, {}
end
