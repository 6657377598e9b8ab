-- Change fields of a tenant's endpoint; one that is enabled begins anew, and what waits for it is sent. Answers 1, or 0: no such.
--
-- webhook:{id}   hash  updated; disabled_reason, failing, failures leave when it is enabled
-- outbox         zset  see include/looks
--
-- ARGV: prefix, 0, id, tenant, then names and values of fields
-- include: common
-- include: looks
local id, tenant = ARGV[3], ARGV[4]
local name = key('webhook', id)
if redis.call('HGET', name, 'tenant') ~= tenant then return 0 end
free_first()
redis.call('HSET', name, 'updated', now, unpack(ARGV, 5))
for i = 5, #ARGV, 2 do
  if ARGV[i] == 'enabled' then redis.call('HDEL', name, 'disabled_reason', 'failing', 'failures') end
end
look_when_due(id)
return 1
