-- Make a delivery of a tenant's endpoint due at once, under its old id, with the whole schedule before it. Answers 1, or 0: no
-- such delivery. One that is being sent at this moment stays as it is.
--
-- delivery:{id}        hash  pending, tried 0, replayed: the nonce; its expiry begins anew
-- outbox:{endpoint}…   zset  due now; it leaves those that ended
--
-- ARGV: prefix, 0, id, endpoint, tenant, nonce
-- include: common
-- include: outbox
-- include: looks
local id, endpoint, tenant, nonce = unpack(ARGV, 3, 6)
local name = key('delivery', id)
if redis.call('HGET', key('webhook', endpoint), 'tenant') ~= tenant then return 0 end
local held = redis.call('HMGET', name, 'endpoint', 'replayed', 'created')
if held[1] ~= endpoint then return 0 end
if held[2] == nonce or redis.call('ZSCORE', key('outbox', endpoint, 'busy'), id) then return 1 end
free_first()
redis.call('HSET', name, 'state', 'pending', 'tried', 0, 'replayed', nonce)
redis.call('PEXPIRE', name, DELIVERY_KEPT_MS)
redis.call('ZREM', key('outbox', endpoint, 'ended'), id)
put(key('outbox', endpoint, 'log'), held[3], id)
put(key('outbox', endpoint), now, id)
look_when_due(endpoint)
return 1
