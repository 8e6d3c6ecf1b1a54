-- Refuses logins without a client certificate that the trusted authorities signed, or with one of somebody else than the client says it
-- is. Dovecot has looked at signature, purpose, time and revocation lists by then, and has put the certificate's name in the place of the client's.

-- Postfix asks for the certificate itself (main.cf); LMTP and doveadm are nobody's logins.
local ELSEWHERE = { smtp = true, lmtp = true, doveadm = true }
-- Ports of other nodes, and of this node's own IMAP processes (home.lua), which looked at the certificate before.
local INSIDE = { [10993] = true, [10995] = true, [14190] = true, [10144] = true }
-- Comes with a password of its own, from named addresses only (26-restore.conf).
local RESTORER = "mail-restore@operators"

local domain, lists_end

function script_init(arguments)
  domain = arguments.domain
  lists_end = arguments.lists_end
  return 0
end

-- Whether revocation lists have ended (libexec/fetch-client-revocations): to TLS each certificate is bad from then on, which says nothing of its user.
local function is_overdue()
  if lists_end == nil or lists_end == "" then return false end
  local file = io.open(lists_end, "r")
  if not file then return true end
  local text = file:read("l") or ""
  file:close()
  return text ~= "none" and os.time() >= (tonumber(text) or 0)
end

-- As auth_username_format and auth_default_domain have it.
local function full_name(user)
  local name = user:lower()
  return name:find("@", 1, true) and name or name .. "@" .. domain
end

local function fault_of(request)
  if request:var_expand("%{cert}") ~= "valid" then return "no client certificate that is good" end
  local given = request:var_expand("%{original_user}")
  if full_name(given) ~= request.user then return "the client certificate of somebody else than " .. given end
  return nil
end

function auth_passdb_lookup(request)
  local outside = not (ELSEWHERE[request.protocol] or INSIDE[tonumber(request.real_local_port)])
  if not outside or request.master_user == RESTORER then return dovecot.auth.PASSDB_RESULT_OK, {} end
  if is_overdue() then
    return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, request.user .. " put off: revocation lists of client certificates have ended"
  end
  local fault = fault_of(request)
  if fault then
    request:log_info("refused: " .. fault)
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  return dovecot.auth.PASSDB_RESULT_OK, {}
end
