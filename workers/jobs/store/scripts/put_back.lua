-- Put a claimed job aside until a known moment, at no cost of a delivery; what was tried so far stays with it.
-- Who waits for a slot stands in line at once where one is free by now, else until one is, or the moment comes.
-- Answers 1, 2 (in line at once, to be rung for), or 0: the fence is not the job's (any more). The same fence again is as good.
--
-- job:{id}             hash  queued, fence void, deliveries - 1, attempts; back: the fence that it was put back under;
--                            waits, waits_until: why it waits, and until when (until its next claim)
-- owner:{owner}:jobs   hash  the claim leaves
-- jobs:delayed         zset  id -> the instant from which it is due; no expiry: it empties with its jobs
-- tenant:{id}:delayed  zset  the same of one tenant; expires an hour after the last is due, so that what a job that was
--                            taken away by hand leaves does not count for ever
--
-- inflight:{p}, inflight:{p}:{m}   hash  read: calls in flight where it waits
-- waiting:…            see include/slots
--
-- ARGV: prefix, ttl_ms, id, fence, delay_ms, attempts as JSON or '', why it waits or '', then of each slot that it waits for: p, m or '', how many
--       calls may be in flight there
-- include: common
-- include: slots
local id, fence, delay_ms, attempts, why = unpack(ARGV, 3, 7)
local job = read_job(id)
if not job then return 0 end
if redis.call('HGET', key('job', id), 'back') == fence then -- sent again: the first answer was late
  return redis.call('ZSCORE', key('jobs', 'delayed'), id) and 1 or 2
end
if job.state ~= 'in_progress' or job.fence ~= fence then return 0 end
free_first()

local function free(p, m, most)
  local flying = 0
  for _, count in ipairs(redis.call('HVALS', m == '' and key('inflight', p) or key('inflight', p, m))) do
    flying = flying + count
  end
  return flying < tonumber(most)
end

local at_once = false
for i = 8, #ARGV, 3 do
  at_once = at_once or free(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end

local until_ms = at_once and now or now + delay_ms
take_from_owner(job, 'a', nil, until_ms)
redis.call('HSET', key('job', id), 'back', fence)
if attempts ~= '' then redis.call('HSET', key('job', id), 'attempts', attempts) end
redis.call('HINCRBY', key('job', id), 'deliveries', -1)
if at_once then
  push(job)
  return 2
end
redis.call('HSET', key('job', id), 'waits_until', string.format('%.0f', until_ms))
if why ~= '' then redis.call('HSET', key('job', id), 'waits', why) end
for i = 8, #ARGV, 3 do
  wait_at(ARGV[i + 1] == '' and ARGV[i] or ARGV[i] .. '|' .. ARGV[i + 1], job, tonumber(delay_ms))
end
redis.call('ZADD', key('jobs', 'delayed'), until_ms, id)
local own = key('tenant', job.tenant, 'delayed')
redis.call('ZADD', own, until_ms, id)
redis.call('PEXPIRE', own, string.format('%.0f', math.max(delay_ms + 3600000, redis.call('PTTL', own))))
return 1
