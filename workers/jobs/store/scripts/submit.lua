-- Write a job, its idempotency claim and its places in line, if there is room; the job's id is the nonce.
-- Answers {id, 'created', jobs of the tenant that wait} | {id, 'replayed' | 'mismatch' | 'gone'} | {'', reason, figures …}.
-- gone: the job that the key made has ended and is not kept any more. A repeat is never refused for want of room.
--
-- job:{id}                 hash    written; no expiry until it ends
-- idem:{tenant}:{digest}   string  id:body digest; no expiry until the job ends, see include/terminal
-- tenant:{id}:jobs, jobs:deadline, ready:…, flows:…   see include/entry
-- what the room is judged by   see include/line
--
-- ARGV: prefix, ttl_ms, id, tenant, class, flow, deadline_ms from now, idempotency digest or '', body digest,
--       most jobs that may wait of the tenant, of all, of all for a class other than high, most age in ms (0: no limit),
--       then names and values of the job's other fields
-- include: common
-- include: ready
-- include: entry
-- include: line
local id, tenant, class, flow, deadline_ms, digest, body = unpack(ARGV, 3, 9)
local name, claim = key('job', id), key('idem', tenant, digest)

if redis.call('EXISTS', name) == 1 then return {id, 'created', waiting_of(tenant)} end -- sent again: the first answer was late

if digest ~= '' then
  local held = redis.call('GET', claim)
  if held then
    local other, its_body = string.match(held, '^([^:]*):(.*)$')
    if its_body ~= body then return {other, 'mismatch'} end
    if redis.call('EXISTS', key('job', other)) == 1 then return {other, 'replayed'} end
    if redis.call('PTTL', claim) == -1 then redis.call('PEXPIRE', claim, IDEMPOTENCY_MS) end -- taken away by hand
    return {other, 'gone'}
  end
end

local why = refusal(tenant, class, limits_at(10), tonumber(deadline_ms))
if why ~= '' then return {'', why, unpack(figures(tenant))} end

-- The first write is one that a full Redis refuses: then nothing is written. What follows it is never refused.
redis.call('HSET', name, 'state', 'queued', 'tenant', tenant, 'class', class, 'flow', flow, 'created', now,
           'deadline', now + deadline_ms, 'hist', history({}, 'q'), unpack(ARGV, 14))
if digest ~= '' then
  redis.call('HSET', name, 'idem', digest)
  redis.call('SET', claim, id .. ':' .. body)
end
enter({id = id, tenant = tenant, class = class, flow = flow, created = now}, deadline_ms)
return {id, 'created', waiting_of(tenant)}
