-- Refuses logins without a client certificate that the trusted authorities signed, or with one of somebody else than the client says it
-- is. Dovecot has looked at signature, purpose and time by then, and has put the certificate's name in the place of the client's.

-- Postfix asks for the certificate itself (main.cf); LMTP and doveadm are nobody's logins.
local ELSEWHERE = { smtp = true, lmtp = true, doveadm = true }
-- Ports of other nodes, and of this node's own IMAP processes (home.lua), which looked at the certificate before.
local INSIDE = { [10993] = true, [10995] = true, [14190] = true, [10144] = true }
-- Comes with a password of its own, from named addresses only (26-restore.conf).
local RESTORER = "mail-restore@operators"

local domain

function script_init(arguments)
  domain = arguments.domain
  return 0
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
  local fault = outside and request.master_user ~= RESTORER and fault_of(request)
  if fault then
    request:log_info("refused: " .. fault)
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  return dovecot.auth.PASSDB_RESULT_OK, {}
end
