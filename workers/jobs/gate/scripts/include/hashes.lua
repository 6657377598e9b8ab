-- Hashes that several items of one run read and change: each is read once, and written once at the run's end. Field `kept`:
-- the instant at which its expiry was set; once a minute is enough.
local KEPT_MS, KEPT_EACH_MS = 3600000, 60000
local TEXTS = {state = true, permit = true, reason = true, error = true, window = true, requests_log = true}
local hashes = {}

local function hash(...)
  local name = key(...)
  local one = hashes[name]
  if one then return one end
  local flat, fields, had = redis.call('HGETALL', name), {}, {}
  for i = 1, #flat, 2 do
    had[flat[i]] = true
    fields[flat[i]] = TEXTS[flat[i]] and flat[i + 1] or tonumber(flat[i + 1])
  end
  one = {name = name, f = fields, had = had, changed = false}
  hashes[name] = one
  return one
end

local function write_hashes()
  for name, one in pairs(hashes) do
    if one.changed then
      local due = not one.f.kept or now - one.f.kept > KEPT_EACH_MS or now < one.f.kept
      if due then one.f.kept = now end
      local set, gone = {}, {}
      for field, value in pairs(one.f) do
        set[#set + 1] = field
        set[#set + 1] = value
      end
      for field in pairs(one.had) do
        if one.f[field] == nil then gone[#gone + 1] = field end
      end
      if #set > 0 then redis.call('HSET', name, unpack(set)) end
      if #gone > 0 then redis.call('HDEL', name, unpack(gone)) end
      if due then redis.call('PEXPIRE', name, KEPT_MS) end
    end
  end
end

-- Calls in flight of a target or an account: of all owners, and of the one that this run is for.
local flights = {}

local function flying(owner, ...)
  local name = key('inflight', ...)
  local one = flights[name]
  if one then return one end
  local flat, total, mine = redis.call('HGETALL', name), 0, 0
  for i = 1, #flat, 2 do
    local n = tonumber(flat[i + 1])
    total = total + n
    if flat[i] == owner then mine = n end
  end
  one = {total = total, mine = mine, before = mine}
  flights[name] = one
  return one
end

local function add(one, by)
  one.total, one.mine = one.total + by, one.mine + by
end

local function write_flights(owner)
  for name, one in pairs(flights) do
    if one.mine <= 0 and one.before > 0 then
      redis.call('HDEL', name, owner)
    elseif one.mine > 0 and one.mine ~= one.before then
      redis.call('HSET', name, owner, one.mine)
    end
  end
end
