-- Write a job, its idempotency claim and its places in line; the job's id is the nonce.
-- Answers {id, 'created' | 'replayed' | 'mismatch'}.
--
-- job:{id}                 hash    written; no expiry until it ends
-- idem:{tenant}:{digest}   string  id:body digest; no expiry until the job ends
-- tenant:{id}:jobs, jobs:deadline, ready:…, flows:…   see include/entry
--
-- ARGV: prefix, ttl_ms, id, tenant, class, flow, deadline_ms from now, idempotency digest or '', body digest,
--       then names and values of the job's other fields
-- include: common
-- include: ready
-- include: entry
local id, tenant, class, flow, deadline_ms, digest, body = unpack(ARGV, 3, 9)
local name, claim = key('job', id), key('idem', tenant, digest)

if redis.call('EXISTS', name) == 1 then return {id, 'created'} end -- sent again: the first answer was late

if digest ~= '' then
  local held = redis.call('GET', claim)
  if held then
    local other, its_body = string.match(held, '^([^:]*):(.*)$')
    if redis.call('EXISTS', key('job', other)) == 1 then
      return {other, its_body == body and 'replayed' or 'mismatch'}
    end
  end
end

-- The first write is one that a full Redis refuses: then nothing is written. What follows it is never refused.
redis.call('HSET', name, 'state', 'queued', 'tenant', tenant, 'class', class, 'flow', flow, 'created', now,
           'deadline', now + deadline_ms, 'hist', history({}, 'q'), unpack(ARGV, 10))
if digest ~= '' then
  redis.call('HSET', name, 'idem', digest)
  redis.call('SET', claim, id .. ':' .. body)
end
enter({id = id, tenant = tenant, class = class, flow = flow, created = now}, deadline_ms)
return {id, 'created'}
