-- Put a claimed job aside until a known moment, at no cost of a delivery; what was tried so far stays with it.
-- Answers 1, or 0: the fence is not the job's (any more). The same fence again is as good.
--
-- job:{id}             hash  queued, fence void, deliveries - 1, attempts; back: the fence that it was put back under;
--                            waits, waits_until: why it waits, and until when (until its next claim)
-- owner:{owner}:jobs   hash  the claim leaves
-- jobs:delayed         zset  id -> the instant from which it is due; no expiry: it empties with its jobs
-- tenant:{id}:delayed  zset  the same of one tenant; expires an hour after the last is due, so that what a job that was
--                            taken away by hand leaves does not count for ever
--
-- ARGV: prefix, ttl_ms, id, fence, delay_ms, attempts as JSON or '', why it waits or ''
-- include: common
-- include: ready
local id, fence, delay_ms, attempts, why = unpack(ARGV, 3, 7)
local job = read_job(id)
if not job then return 0 end
if redis.call('HGET', key('job', id), 'back') == fence then return 1 end -- sent again: the first answer was late
if job.state ~= 'in_progress' or job.fence ~= fence then return 0 end
free_first()
local until_ms = now + delay_ms
take_from_owner(job, 'a', nil, until_ms)
redis.call('HSET', key('job', id), 'back', fence, 'waits_until', string.format('%.0f', until_ms))
if why ~= '' then redis.call('HSET', key('job', id), 'waits', why) end
if attempts ~= '' then redis.call('HSET', key('job', id), 'attempts', attempts) end
redis.call('HINCRBY', key('job', id), 'deliveries', -1)
redis.call('ZADD', key('jobs', 'delayed'), until_ms, id)
local own = key('tenant', job.tenant, 'delayed')
redis.call('ZADD', own, until_ms, id)
redis.call('PEXPIRE', own, string.format('%.0f', math.max(delay_ms + 3600000, redis.call('PTTL', own))))
return 1
