-- Give a tenant's endpoint a new secret; the one before signs beside it for a while, when the service can still make it.
-- The new salt is the nonce. Answers 1, or 0: no such endpoint.
--
-- webhook:{id}   hash  salt, fingerprint; old_salt, old_until: the generation before
--
-- ARGV: prefix, 0, id, tenant, salt, fingerprint, overlap_ms
-- include: common
local id, tenant, salt, print, overlap_ms = unpack(ARGV, 3, 7)
local name = key('webhook', id)
local held = redis.call('HMGET', name, 'tenant', 'salt', 'fingerprint')
if held[1] ~= tenant then return 0 end
if held[2] == salt then return 1 end -- sent again
free_first()
redis.call('HSET', name, 'salt', salt, 'fingerprint', print, 'updated', now)
if held[3] == print and tonumber(overlap_ms) > 0 then
  redis.call('HSET', name, 'old_salt', held[2], 'old_until', now + overlap_ms)
else
  redis.call('HDEL', name, 'old_salt', 'old_until')
end
return 1
