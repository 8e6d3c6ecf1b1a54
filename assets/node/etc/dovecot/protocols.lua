-- Refuses a user who came in by a protocol that the directory does not give them. Asked when the user is known to be who they say;
-- a user without a line has all protocols.

local protocols

function script_init(arguments)
  protocols = arguments.protocols
  return 0
end

function auth_passdb_lookup(request)
  -- Mail is delivered to everybody, and the node that passed a session on has asked already.
  if request.protocol == "lmtp" or (request.master_user or "") ~= "" then return dovecot.auth.PASSDB_RESULT_OK, {} end
  local start = request.user:lower() .. ":"
  for line in io.lines(protocols) do
    if line:sub(1, #start) == start then
      local allowed = line:sub(#start + 1)
      if ("+" .. allowed .. "+"):find("+" .. request.protocol .. "+", 1, true) then break end
      request:log_info("the user has " .. allowed .. ", not " .. request.protocol)
      return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
    end
  end
  return dovecot.auth.PASSDB_RESULT_OK, {}
end
