-- Rescue the jobs of dead workers: those not heard of for a lease, and only after a lease of unbroken sweeps, so that the
-- living have had time to be heard after Redis itself was away; their open attempts are booked as lost first. Answers
-- {unbroken ms, {rescued ids}, {poisoned ids}, lost attempts}.
--
-- sweep                hash  last: the last sweep, since: the first of those without a gap; expires after ten leases
-- workers              zset  owner -> last heartbeat; a dead one leaves when it has no job
-- owner:{owner}:jobs   hash  emptied
-- job:{id}             hash  queued again, deaths + 1; a suspect whose owner died twice: failed, code poisoned. Once is
--                            not enough: whoever runs it may be killed for another reason, and no innocent job is buried
-- dead, dead:{tenant}  zset  id -> finished: dead letters; expires with the last of them
-- counters             hash  rescued, poisoned
-- attempts:{owner}, inflight:…, breaker:…, cost:{day}   see include/lost
--
-- ARGV: prefix, ttl_ms, lease_ms, deaths that make a suspect, most jobs in one go
-- include: common
-- include: ready
-- include: terminal
-- include: ledger
-- include: lost
local lease_ms, max_deaths, budget = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local rescued, poisoned, lost, most_lost = {}, {}, 0, budget
free_first()

local function unbroken_ms()
  local seen = redis.call('HMGET', key('sweep'), 'last', 'since')
  local last, since = tonumber(seen[1]), tonumber(seen[2])
  if not last or now < last or now - last > lease_ms / 2 then
    since = now
    -- After Redis's clock was set back, a worker that died before would seem alive until it catches up.
    for _, owner in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), '(' .. now, '+inf')) do
      redis.call('ZADD', key('workers'), now, owner)
    end
  end
  redis.call('HSET', key('sweep'), 'last', now, 'since', since)
  redis.call('PEXPIRE', key('sweep'), math.ceil(10 * lease_ms))
  return now - since
end

local function bury(job)
  finish(job, 'failed', {keep_request = true, fields = {
    'deaths', job.deaths, 'error_code', 'poisoned',
    'error_message', 'The worker died each time it ran this job, the last time running nothing else'}})
  for _, dead in ipairs({key('dead'), key('dead', job.tenant)}) do
    redis.call('ZADD', dead, now, job.id)
    redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - ttl_ms)
    redis.call('PEXPIRE', dead, ttl_ms)
  end
  table.insert(poisoned, job.id)
end

local function rescue(job)
  job.deaths = (tonumber(job.deaths) or 0) + 1
  if job.class == 'suspect' and job.deaths > max_deaths + 1 then return bury(job) end
  if job.deaths >= max_deaths then job.class = 'suspect' end
  redis.call('HSET', key('job', job.id), 'deaths', job.deaths)
  redis.call('PUBLISH', key('stop', job.owner), job.cnonce) -- in case it lives after all
  requeue(job, 'l')
  table.insert(rescued, job.id)
end

local function clear(owner)
  local closed, more = lose_attempts(owner, most_lost - lost)
  lost = lost + closed
  if more then return end -- before its jobs: what was lost is to show in them wherever they run next
  local mine = key('owner', owner, 'jobs')
  local claims = redis.call('HGETALL', mine)
  for i = 1, #claims, 2 do
    if budget == 0 then return end
    budget = budget - 1
    local job = read_job(claims[i + 1])
    if job and job.state == 'in_progress' and job.owner == owner and job.cnonce == claims[i] then
      rescue(job)
    else
      redis.call('HDEL', mine, claims[i])
    end
  end
  redis.call('ZREM', key('workers'), owner)
end

local unbroken = unbroken_ms()
if unbroken >= lease_ms then
  local silent = redis.call('ZRANGEBYSCORE', key('workers'), '-inf', '(' .. (now - lease_ms), 'LIMIT', 0, 100)
  for _, owner in ipairs(silent) do clear(owner) end
  if #rescued > 0 then redis.call('HINCRBY', key('counters'), 'rescued', #rescued) end
  if #poisoned > 0 then redis.call('HINCRBY', key('counters'), 'poisoned', #poisoned) end
  write_books()
end
return {unbroken, rescued, poisoned, lost}
