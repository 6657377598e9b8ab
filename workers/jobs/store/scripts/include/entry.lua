-- Give a new job, whose hash is written, its places: needs include/ready.
--
-- jobs:deadline       zset  the job enters
-- tenant:{id}:jobs    zset  the job enters, the oldest leave when they are gone; outlives the last job in it
-- ready:…, flows:…    see include/ready
local function enter(job, deadline_ms)
  push(job)
  redis.call('ZADD', key('jobs', 'deadline'), now + deadline_ms, job.id)

  local list = key('tenant', job.tenant, 'jobs')
  for _, oldest in ipairs(redis.call('ZRANGE', list, 0, 2)) do
    if redis.call('EXISTS', key('job', oldest)) == 0 then redis.call('ZREM', list, oldest) end
  end
  redis.call('ZADD', list, now, job.id)
  -- A job is gone by its deadline and a ttl; a ttl more for a late upkeep, and one more so that this is seldom written.
  if redis.call('PTTL', list) < deadline_ms + 2 * ttl_ms then
    redis.call('PEXPIRE', list, deadline_ms + 3 * ttl_ms)
  end
end
