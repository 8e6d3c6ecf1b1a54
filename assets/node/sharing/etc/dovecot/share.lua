-- Checks the password by which a reader's IMAP process comes to the folders of somebody else (66-sharing.conf), and says as whom it
-- comes: it gets the reader's rights and no more. Clients have no use for the password: it is good on two ports, of which one is on the
-- loopback and the other for nodes only (home.lua).

local SHARE_PORT, HOP_PORT = 10144, 10993

local secret, users

function script_init(arguments)
  users = arguments.users
  local file = io.open(arguments.secret, "r")
  if file then
    secret = file:read("l")
    file:close()
  end
  return 0
end

local function is_user(name)
  local start = name .. ":"
  for line in io.lines(users) do
    if line:sub(1, #start) == start then return true end
  end
  return false
end

-- The user of the request is the reader; whose folders are meant comes later.
function auth_password_verify(request, password)
  local port = tonumber(request.real_local_port)
  if secret == nil or password ~= secret or request.protocol ~= "imap" or (port ~= SHARE_PORT and port ~= HOP_PORT) then
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  if not is_user(request.user) then return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, nil end
  return dovecot.auth.PASSDB_RESULT_OK, {
    userdb_acl_user = request.user,
    -- The owner may read what others share with them; the reader may not, by this way.
    ["userdb_namespace/shared/disabled"] = "yes",
  }
end
