-- Looks once more at a token that Dovecot found good (22-token.conf says what it looks at), and at whose it is:
--
-- * the audience, or the client for tokens that have none (Cognito's); Dovecot 2.4.1 knows one audience and wants a secret with it;
-- * the time between iat and exp, which Dovecot does not limit;
-- * that the key is still there: 2.4.1 keeps each key that it has read for as long as it runs, also one that the provider withdrew;
-- * that the user is in the directory and may log in.
--
-- The token has a good signature here, but one of a withdrawn key may be anybody's work, so what could be read in two ways is refused.

local settings = {}

function script_init(arguments)
  settings = arguments
  return 0
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- The bytes that a part of the token stands for.
local function decode_part(part)
  local bytes, bits, count = {}, 0, 0
  for character in part:gmatch(".") do
    local value = ALPHABET:find(character, 1, true) or error("no base64url")
    bits, count = (bits << 6 | value - 1) & 0xffff, count + 6
    if count >= 8 then
      count = count - 8
      table.insert(bytes, string.char(bits >> count & 0xff))
    end
  end
  return table.concat(bytes)
end

-- A JSON text as Lua has it (RFC 8259). Strings keep their escapes: no name or value that we compare has one. Numbers are
-- texts. Raises an error for what is no JSON, and for a name that is there twice.
local function decode_json(text)
  local at = 1
  local read

  local function take(pattern)
    local found, behind = text:match("^[ \t\r\n]*(" .. pattern .. ")()", at)
    if found then at = behind end
    return found
  end

  local function read_string()
    if not take('"') then error("a string is missing") end
    local first = at
    while true do
      local character = text:sub(at, at)
      if character == "" then error("a string has no end") end
      at = at + (character == "\\" and 2 or 1)
      if character == '"' then return text:sub(first, at - 2) end
    end
  end

  -- What is between the brackets, one `item` after another.
  local function read_items(close, item)
    if take(close) then return end
    repeat item() until not take(",")
    if not take(close) then error("a bracket is missing") end
  end

  function read()
    local result = {}
    if take("{") then
      read_items("}", function()
        local name = read_string()
        if name:find("\\", 1, true) or result[name] ~= nil then error("a name is escaped or there twice") end
        if not take(":") then error("a colon is missing") end
        result[name] = read()
      end)
      return result
    elseif take("%[") then
      read_items("%]", function() table.insert(result, read()) end)
      return result
    elseif text:find('^[ \t\r\n]*"', at) then
      return read_string()
    end
    return take("[%w.+-]+") or error("a value is missing")
  end

  local result = read()
  if not text:find("^[ \t\r\n]*$", at) then error("something follows") end
  return result
end

local function read_token(token)
  local header, claims = token:match("^([^.]+)%.([^.]+)%.[^.]+$")
  return decode_json(decode_part(header)), decode_json(decode_part(claims))
end

local function has_line(path, found)
  for line in io.lines(path) do
    if found(line) then return true end
  end
  return false
end

local function is_file(path)
  local file = io.open(path, "r")
  if not file then return false end
  local line = file:read("l") -- nil for a folder
  file:close()
  return line ~= nil
end

local function integer_of(text)
  return type(text) == "string" and math.tointeger(tonumber(text)) or nil
end

-- A part of a key's path, as Dovecot writes it.
local function segment(name)
  return (name:gsub("[/%%]", { ["/"] = "%2f", ["%"] = "%25" }))
end

-- Why the token is not good, nil when it is.
local function fault_of(header, claims)
  local audiences = claims.aud or claims.client_id
  if type(audiences) ~= "table" then audiences = { audiences } end
  local ours = false
  for _, audience in ipairs(audiences) do
    for allowed in settings.audiences:gmatch("%S+") do ours = ours or audience == allowed end
  end
  if not ours then return "it is for somebody else" end

  local issued, expires = integer_of(claims.iat), integer_of(claims.exp)
  if not (issued and expires) then return "it does not say how long it is good" end
  if expires - issued > tonumber(settings.lifetime) then
    return "it is good for " .. expires - issued .. " s, more than " .. settings.lifetime
  end

  local path = { settings.keys, segment(claims.azp or "default"), header.alg:upper(), segment(header.kid or "default") }
  if not is_file(table.concat(path, "/")) then return "its key was withdrawn" end

  -- Cognito and others sign tokens that only say who somebody is; they are shown to every page that asks.
  if claims.token_use ~= nil and claims.token_use ~= "access" then return "it gives no access" end
  -- Who may write any address into their own profile would own every mailbox.
  if settings.claim == "email" and claims.email_verified ~= nil and claims.email_verified ~= "true" then
    return "its address was not verified"
  end
  return nil
end

function auth_passdb_lookup(request)
  local user = request.user
  local start = user .. ":"
  if not has_line(settings.users, function(line) return line:sub(1, #start) == start end) then
    request:log_info("token refused: there is no such user")
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  if has_line(settings.no_login, function(line) return line == user end) then
    request:log_info("token refused: the user may not log in")
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  local read, header, claims = pcall(read_token, request.passdb.token)
  local fault = not read and header or fault_of(header, claims)
  if fault then
    request:log_info("token refused: " .. fault)
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, nil
  end
  return dovecot.auth.PASSDB_RESULT_OK, {}
end
