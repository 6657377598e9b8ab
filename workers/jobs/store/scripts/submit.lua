-- Write a job, its idempotency claim and its places in line; the job's id is the nonce.
-- Answers {id, 'created' | 'replayed' | 'mismatch'}.
--
-- job:{id}                 hash    written; no expiry until it ends
-- idem:{tenant}:{digest}   string  id:body digest; no expiry until the job ends
-- tenant:{id}:jobs         zset    the job enters, the oldest leave when they are gone; outlives the last job in it
-- jobs:deadline            zset    the job enters
-- ready:…, flows:…         see include/ready
--
-- ARGV: prefix, ttl_ms, id, tenant, class, flow, deadline_ms from now, idempotency digest or '', body digest,
--       then names and values of the job's other fields
-- include: common
-- include: ready
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
push({id = id, class = class, flow = flow, created = now})
redis.call('ZADD', key('jobs', 'deadline'), now + deadline_ms, id)

local list = key('tenant', tenant, 'jobs')
for _, oldest in ipairs(redis.call('ZRANGE', list, 0, 2)) do
  if redis.call('EXISTS', key('job', oldest)) == 0 then redis.call('ZREM', list, oldest) end
end
redis.call('ZADD', list, now, id)
-- A job is gone by its deadline and a ttl; a ttl more for a late upkeep, and one more so that this is seldom written.
if redis.call('PTTL', list) < deadline_ms + 2 * ttl_ms then
  redis.call('PEXPIRE', list, deadline_ms + 3 * ttl_ms)
end
return {id, 'created'}
