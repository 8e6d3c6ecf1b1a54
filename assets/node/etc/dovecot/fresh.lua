-- Puts logins off when this node has not heard from the directory for longer than it may serve from its copy (libexec/directory/sync):
-- somebody may have been disabled since. Nobody is told that a right password is wrong. Mail is delivered all the same. To Postfix each
-- login that fails is a wrong password, so there the login is let in, and mail is put off (main.cf, maps/stale).
--
-- Settings: seen, the file with the time at which the directory last answered; stale_after, seconds, nothing for ever.

local settings = {}

function script_init(arguments)
  settings = arguments
  return 0
end

local function is_fresh()
  local limit = tonumber(settings.stale_after)
  if limit == nil then return true end
  local file = io.open(settings.seen, "r")
  if not file then return false end
  local seen = file:read("n")
  file:close()
  return seen ~= nil and os.time() - seen <= limit
end

function auth_passdb_lookup(request)
  local protocol = request.protocol
  -- What another node passed on it has asked about. Not by `skip = authenticated`: who brings a token is that from the start.
  local by_master = (request.master_user or "") ~= ""
  if by_master or protocol == "lmtp" or protocol == "smtp" or is_fresh() then return dovecot.auth.PASSDB_RESULT_NEXT, nil end
  local why = request.user .. " put off: the directory has not answered for more than " .. settings.stale_after .. " s"
  local mechanism = (request.mechanism or ""):upper()
  if mechanism == "OAUTHBEARER" or mechanism == "XOAUTH2" then
    -- As in home.lua: a failure would be told as a bad token. Nobody listens there.
    request:log_error(why)
    return dovecot.auth.PASSDB_RESULT_OK, { proxy = "y", host = "127.0.0.1", port = "10999", pass = "-", proxy_timeout = "1s" }
  end
  return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, why
end
