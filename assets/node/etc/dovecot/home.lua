-- Which node serves a user (docs: README.md, "One node for each mailbox"). Dovecot asks after it has authenticated the user, and
-- for each recipient of LMTP. The answer is "here", "there" (proxy), or a temporary failure; never "here, just this once".
-- What is about to open a mailbox asks again (userdb): the ring may have changed since the login.
--
-- Settings (lua_settings in 25-home.conf): ring, the file that the agent replaces at each change; secret, the file with the
-- password of the hop; network, from where other nodes connect; shards, the file of users whose shard the directory says; crowded, the file of users with too many sessions (passdb only);
-- share, the file with the password for shared folders, if users may share any (sharing/).
--
-- There is no auth_passdb_get_cache_key(): a cached answer would pin a user to a node that died.

local settings = {}
local secret, share_secret

-- Ports for other nodes. What comes in there was authenticated by the node that sent it, and is never sent on.
local HOP_PORT = { imap = 10993, pop3 = 10995, sieve = 14190, lmtp = 10024 }
local HOP_PORTS = {}
for _, port in pairs(HOP_PORT) do HOP_PORTS[port] = true end
-- What Dovecot sends on to another node when the one that it asked says so.
local REFERRED = { imap = true, pop3 = true }

-- What a node calls itself on the hop; and who gets mail back for others, at the node that took the login (26-restore.conf) and on the
-- hop from there.
local NODE = "mail-node@nodes"
local RESTORER, RESTORER_BY_HOP = "mail-restore@operators", "mail-restore@nodes"

-- On the loopback, for this node's own IMAP processes, when their users read what somebody else shares.
local SHARE_PORT = 10144

-- Unsigned 64-bit FNV-1a of node, NUL, user, and MurmurHash3's finalizer. agent/src/ring/home.ts computes the same.
local function score(user, node)
  local hash = 0xcbf29ce484222325
  for _, byte in ipairs({ (node .. "\0" .. user):byte(1, -1) }) do
    hash = (hash ~ byte) * 0x100000001b3
  end
  hash = (hash ~ (hash >> 33)) * 0xff51afd7ed558ccd
  hash = (hash ~ (hash >> 33)) * 0xc4ceb9fe1a85ec53
  return hash ~ (hash >> 33)
end

-- The node with the highest score; nil when there is none.
function home_of(user, nodes)
  local home, highest
  for _, node in ipairs(nodes) do
    local this = score(user, node)
    if home == nil or math.ult(highest, this) or (this == highest and node < home) then
      home, highest = node, this
    end
  end
  return home
end

-- The shard that the directory says (libexec/directory/sync), nil when it says none. Without the file there is no answer.
local function chosen_shard(user)
  if settings.shards == nil then return nil end
  local start = user .. ":"
  for line in io.lines(settings.shards) do
    if line:sub(1, #start) == start then return line:sub(#start + 1) end
  end
  return nil
end

-- The home among these nodes. With shards a user has the one that the directory says, or else one by the same rule over their names,
-- whichever nodes there are, and the home is the node that has it; nil when there is none, and which shard that is.
function home_in(ring, user, nodes)
  if ring.shards == nil then return home_of(user, nodes) end
  local shard = chosen_shard(user) or home_of(user, ring.shards)
  for _, node in ipairs(nodes) do
    if node == ring.shards[shard] then return node end
  end
  return nil, shard
end

-- The ring file; nil when it is missing or not whole.
function read_ring(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("a") or ""
  file:close()
  local ring = { node = {}, was = {} }
  for key, value in text:gmatch("([^\t\n]+)\t([^\n]*)\n") do
    if key == "node" or key == "was" then
      table.insert(ring[key], value)
    elseif key == "shard" then
      ring.shards = ring.shards or {}
      local name, address = value:match("^([^\t]*)\t?(.*)$")
      table.insert(ring.shards, name)
      ring.shards[name] = address
    else
      ring[key] = value
    end
  end
  if not (ring.version and ring.self and ring.state and ring.settled) then return nil end
  return ring
end

-- Where a user is served: "here", the address of another node, or nil, why not, and whether it will be here in a moment.
function decide(ring, user)
  if ring == nil then return nil, "this node does not know its ring yet" end
  if ring.state ~= "serving" then return nil, "this node is fenced" end
  local home, shard = home_in(ring, user, ring.node)
  if home == nil then
    return nil, shard and "no node has " .. shard .. " in ring " .. ring.version or "the ring is empty"
  end
  if home ~= ring.self then return home end
  if ring.settled ~= "yes" and home_in(ring, user, ring.was) ~= ring.self then
    return nil, "the mailbox is moving to this node, ring " .. ring.version .. " is not settled", true
  end
  return "here"
end

-- The IPv4 address as a number, nil for anything else.
local function number_of(address)
  local number = 0
  local bytes = { address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, byte in ipairs(bytes) do number = number << 8 | tonumber(byte) end
  return #bytes == 4 and number or nil
end

local function in_network(address, network)
  local base, bits = network:match("^(.-)/(%d+)$")
  local number, outside = number_of(address), 32 - tonumber(bits)
  return number ~= nil and number >> outside == number_of(base) >> outside
end

local function first_line(path)
  local file = path and io.open(path, "r")
  if not file then return nil end
  local line = file:read("l")
  file:close()
  return line
end

function script_init(arguments)
  settings = arguments
  secret = first_line(settings.secret)
  share_secret = first_line(settings.share)
  return 0
end

local function refuse(request, why)
  return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, request.user .. " refused: " .. why
end

-- Whether the user has as many sessions as one may have; no file when nobody has (libexec/watch-logins).
local function is_crowded(user)
  local file = io.open(settings.crowded, "r")
  if not file then return false end
  local found = false
  for line in file:lines() do found = found or line == user end
  file:close()
  return found
end

-- Not now. For a token Dovecot 2.4.1 has one answer to whatever went wrong, that the token is bad, and its user would be asked to sign in
-- again. So the session is passed on to where nobody listens, which is a failure for the moment.
local function put_off(request, why)
  local mechanism = (request.mechanism or ""):upper()
  if mechanism ~= "OAUTHBEARER" and mechanism ~= "XOAUTH2" then return refuse(request, why) end
  request:log_error(request.user .. " refused: " .. why)
  return dovecot.auth.PASSDB_RESULT_OK, { proxy = "y", host = "127.0.0.1", port = "10999", pass = "-", proxy_timeout = "1s" }
end

function auth_passdb_lookup(request)
  local protocol = request.protocol
  local by_hop = HOP_PORTS[tonumber(request.real_local_port)] == true
  local by_share = share_secret ~= nil and tonumber(request.real_local_port) == SHARE_PORT
  local master = request.master_user or ""
  local restores = master ~= "" and not by_share and master == (by_hop and RESTORER_BY_HOP or RESTORER)

  -- The password of the hop opens every mailbox: good on the hop's ports only, and nothing else is good there.
  if by_hop and not in_network(request.real_remote_ip or "", settings.network) then
    -- Not "unknown": LMTP would deliver here to a user whom only the passdb does not know.
    return refuse(request, "the hop is for the node network")
  end
  if restores then
    if protocol ~= "imap" then return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, "mail is got back by IMAP only" end
  elseif by_share then
    if master == "" or master == NODE or master == request.user then
      return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, "login for shared folders of nobody else"
    end
  elseif by_hop and protocol ~= "lmtp" then
    local reads = share_secret ~= nil and protocol == "imap" and master ~= request.user
    if master == "" or (master ~= NODE and not reads) then
      return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, "login of a user on the hop"
    end
  elseif master ~= "" then
    return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, "login of a node outside the hop"
  end

  -- Any node queues mail; only what opens a mailbox has a home.
  if protocol == "smtp" or protocol == "submission" then return dovecot.auth.PASSDB_RESULT_OK, {} end

  local ring = read_ring(settings.ring)
  local where, why, is_moving = decide(ring, request.user:lower())
  if by_hop and where ~= nil and where ~= "here" then
    -- The other node did not know. When all nodes know this ring, two can't send a session to and fro.
    if ring.settled == "yes" and REFERRED[protocol] then
      return dovecot.auth.PASSDB_RESULT_OK, { nologin = "y", host = where, port = tostring(HOP_PORT[protocol]) }
    end
    where, why = nil, "the home is " .. where .. " in ring " .. ring.version
  end
  -- Its own hop refuses for as long, and Dovecot tries a hop again each second: the client waits and is not told.
  if is_moving and not by_hop and protocol ~= "lmtp" then where = ring.self end
  if where == nil then return put_off(request, why) end
  if where == "here" then
    local own = master == "" or master == NODE
    if restores then
      request:log_info(request.user .. " opened to get mail back, from " .. (request.remote_ip or "nowhere"))
    elseif protocol ~= "lmtp" and own and is_crowded(request.user:lower()) then
      return put_off(request, "the user has too many sessions")
    end
    return dovecot.auth.PASSDB_RESULT_OK, {}
  end

  local port = HOP_PORT[protocol]
  if port == nil then return refuse(request, "the home is " .. where .. ", and " .. protocol .. " has no hop") end
  local fields = { proxy = "y", host = where, port = tostring(port), ssl = "any-cert" }
  if protocol ~= "lmtp" then
    if secret == nil then return put_off(request, "no password for the hop to " .. where) end
    fields.master = restores and RESTORER_BY_HOP or by_share and master or NODE
    fields.pass = by_share and share_secret or secret
    fields.proxy_mech = "plain"
    -- Bytes as they come: with 2.4.1's channels inside the connection one session of six stops answering.
    fields.proxy_no_multiplex = "y"
    -- For all attempts together: a node that died is out of the ring by then. Without a unit it would be seconds as well, whatever
    -- the manual says.
    fields.proxy_timeout = "8s"
  end
  return dovecot.auth.PASSDB_RESULT_OK, fields
end

function auth_userdb_lookup(request)
  -- Not somebody who logged in: an IMAP process asks whether there is an owner of shared folders. It opens none of them itself.
  if share_secret ~= nil and request.protocol == "imap" and (request.mechanism or "") == "" and (request.session or "") == "" then
    return dovecot.auth.USERDB_RESULT_OK, {}
  end
  local where, why = decide(read_ring(settings.ring), request.user:lower())
  if where == "here" then return dovecot.auth.USERDB_RESULT_OK, {} end
  return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, request.user .. " refused: " .. (why or "the home is " .. where)
end
