-- The outbox: events on their way to tenants' endpoints, written in the same step as what they tell.
-- webhook:{id}            hash  read: an endpoint; no expiry, it is made by hand
-- delivery:{id}           hash  endpoint, type, about, state, created, tried: written; expires after a week
-- outbox:{endpoint}       zset  delivery -> the instant from which it is due; expires with its last delivery
-- outbox:{endpoint}:log   zset  delivery -> created; the same, and the oldest leave when they are gone
-- outbox                  zset  enabled endpoint -> the instant of upkeep's next look at it; no expiry: it empties
local DELIVERY_KEPT_MS = 7 * 86400000

local function put(name, score, member)
  redis.call('ZADD', name, score, member)
  redis.call('PEXPIRE', name, DELIVERY_KEPT_MS)
end

-- Write an event for an endpoint, unless that is gone. A disabled one gets it when it is enabled again.
local function emit(id, endpoint, kind, about)
  local enabled = redis.call('HGET', key('webhook', endpoint), 'enabled')
  if not enabled then return end
  redis.call('HSET', key('delivery', id), 'endpoint', endpoint, 'type', kind, 'about', about, 'state', 'pending',
             'created', now, 'tried', 0)
  redis.call('PEXPIRE', key('delivery', id), DELIVERY_KEPT_MS)
  put(key('outbox', endpoint), now, id)
  local log = key('outbox', endpoint, 'log')
  for _, oldest in ipairs(redis.call('ZRANGE', log, 0, 2)) do
    if redis.call('EXISTS', key('delivery', oldest)) == 0 then redis.call('ZREM', log, oldest) end
  end
  put(log, now, id)
  if enabled == '1' then redis.call('ZADD', key('outbox'), 'LT', now, endpoint) end
end
