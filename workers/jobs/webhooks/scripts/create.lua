-- Register an endpoint; its id is the nonce. Answers {id, 'created' | 'replayed' | 'mismatch' | 'full'}.
--
-- webhook:{id}                     hash    written; no expiry: made by hand
-- tenant:{tenant}:webhooks         zset    id -> created; the same
-- idem:webhook:{tenant}:{digest}   string  id:body digest; expires
--
-- ARGV: prefix, 0, id, tenant, most of a tenant, idempotency digest or '', body digest, how long a claim is kept (ms),
--       then names and values of the endpoint's other fields
-- include: common
local id, tenant, most, digest, body, kept_ms = unpack(ARGV, 3, 8)
local name, mine, claim = key('webhook', id), key('tenant', tenant, 'webhooks'), key('idem', 'webhook', tenant, digest)

if redis.call('EXISTS', name) == 1 then return {id, 'created'} end -- sent again: the first answer was late
if digest ~= '' then
  local other, its_body = string.match(redis.call('GET', claim) or '', '^([^:]*):(.*)$')
  if other and redis.call('EXISTS', key('webhook', other)) == 1 then
    return {other, its_body == body and 'replayed' or 'mismatch'}
  end
end
if redis.call('ZCARD', mine) >= tonumber(most) then return {id, 'full'} end

-- The first write is one that a full Redis refuses: then nothing is written.
redis.call('HSET', name, 'tenant', tenant, 'created', now, 'updated', now, unpack(ARGV, 9))
redis.call('ZADD', mine, now, id)
if digest ~= '' then redis.call('SET', claim, id .. ':' .. body, 'PX', kept_ms) end
return {id, 'created'}
