-- Give deliveries that are due to a sender, for a lease; the same nonce gets the same ones. Answers a list of
-- {id, endpoint, type, about, created, tried, url, salt, old salt or '', fingerprint}.
--
-- A claimed delivery stays in line, due again when the lease ends: what a dead sender had comes back by itself.
--
-- outbox                    zset    endpoints looked at now get the instant of their next look
-- outbox:{endpoint}         zset    claimed deliveries are due when the lease ends; those that are gone leave
-- outbox:{endpoint}:busy    zset    delivery -> end of its lease; expires after one
-- outbox:tenant:{tenant}       zset   the same of all endpoints of a tenant
-- outbox:tenant:{tenant}:wait  set    endpoints that wait for one of these to end; expires after a lease
-- outbox:claim:{nonce}      string  ids that it got; expires after a lease
-- delivery:{id}             hash    claim: the nonce, claimed: since when; tries: one `lost` where a claim ran out
--
-- ARGV: prefix, 0, nonce, most deliveries, most of one endpoint at a time, most of one tenant at a time, lease_ms,
--       most endpoints to look at
-- include: common
-- include: outbox
-- include: looks
-- include: tries
local nonce, left, most_busy, most_of_tenant = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local lease_ms, most_looks = tonumber(ARGV[7]), ARGV[8]

local function answer(id)
  local d = redis.call('HMGET', key('delivery', id), 'endpoint', 'type', 'about', 'created', 'tried')
  if not d[1] then return nil end
  local e = redis.call('HMGET', key('webhook', d[1]), 'url', 'salt', 'fingerprint', 'old_salt', 'old_until')
  if not e[1] then return nil end
  local old = e[5] and tonumber(e[5]) > now and e[4] or ''
  return {id, d[1], d[2], d[3], d[4], d[5], e[1], e[2], old, e[3]}
end

local claims, claimed, answers = key('outbox', 'claim', nonce), {}, {}
local again = redis.call('GET', claims)
if again then -- sent again: the first answer was late
  for id in string.gmatch(again, '%S+') do
    if redis.call('HGET', key('delivery', id), 'claim') == nonce then table.insert(answers, answer(id)) end
  end
  return answers
end
free_first()

-- What is being sent, by a set of ends of leases: how many there are, and when the first lease ends.
local function under_way(name)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', now)
  return redis.call('ZCARD', name), redis.call('ZRANGE', name, 0, 0, 'WITHSCORES')[2]
end

local function claim(id, endpoint, tenant)
  local before = redis.call('HMGET', key('delivery', id), 'claim', 'claimed')
  if before[1] then
    add_try(id, {at_ms = tonumber(before[2]), status = cjson.null, latency_ms = now - tonumber(before[2]), error = 'lost'})
  end
  redis.call('HSET', key('delivery', id), 'claim', nonce, 'claimed', now)
  redis.call('ZADD', key('outbox', endpoint), now + lease_ms, id)
  for _, name in ipairs({key('outbox', endpoint, 'busy'), key('outbox', 'tenant', tenant)}) do
    redis.call('ZADD', name, now + lease_ms, id)
    redis.call('PEXPIRE', name, lease_ms)
  end
  table.insert(claimed, id)
  left = left - 1
end

-- An endpoint, or a tenant, that has all its sends under way is looked at when one of them ends, or is given up: not before.
local function look_later(endpoint, busy, mine)
  look_when_due(endpoint)
  local count, first_end = under_way(busy)
  if count < most_busy then
    count, first_end = under_way(mine)
    if count < most_of_tenant then return end
    redis.call('SADD', mine .. ':wait', endpoint)
    redis.call('PEXPIRE', mine .. ':wait', lease_ms)
  end
  redis.call('ZADD', key('outbox'), 'XX', 'GT', first_end, endpoint)
end

local function look(endpoint)
  local tenant = redis.call('HGET', key('webhook', endpoint), 'tenant') or ''
  local line, busy, mine = key('outbox', endpoint), key('outbox', endpoint, 'busy'), key('outbox', 'tenant', tenant)
  redis.call('ZREMRANGEBYSCORE', line, '-inf', now - DELIVERY_KEPT_MS) -- they have expired while nobody looked
  local room = math.min(left, most_busy - under_way(busy), most_of_tenant - under_way(mine))
  for _, id in ipairs(room > 0 and redis.call('ZRANGEBYSCORE', line, '-inf', now, 'LIMIT', 0, room) or {}) do
    local found = answer(id)
    if found then
      claim(id, endpoint, tenant)
      table.insert(answers, found)
    else
      redis.call('ZREM', line, id)
    end
  end
  look_later(endpoint, busy, mine)
end

for _, endpoint in ipairs(redis.call('ZRANGEBYSCORE', key('outbox'), '-inf', now, 'LIMIT', 0, most_looks)) do
  if left <= 0 then break end
  look(endpoint)
end
if #claimed > 0 then redis.call('SET', claims, table.concat(claimed, ' '), 'PX', lease_ms) end
return answers
