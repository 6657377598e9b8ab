-- Remove a tenant's endpoint and all that waits for it; its deliveries expire by themselves. Answers 1, or 0: no such.
--
-- webhook:{id}, outbox:{id}…   deleted
-- tenant:{tenant}:webhooks     zset  it leaves
-- outbox                       zset  it leaves
--
-- ARGV: prefix, 0, id, tenant
-- include: common
local id, tenant = ARGV[3], ARGV[4]
if redis.call('HGET', key('webhook', id), 'tenant') ~= tenant then return 0 end
free_first()
redis.call('UNLINK', key('webhook', id), key('outbox', id), key('outbox', id, 'log'), key('outbox', id, 'busy'),
           key('outbox', id, 'ended'))
redis.call('ZREM', key('tenant', tenant, 'webhooks'), id)
redis.call('ZREM', key('outbox'), id)
return 1
