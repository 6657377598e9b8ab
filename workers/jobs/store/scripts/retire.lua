-- Give back what a worker has, book its open attempts as lost, and forget it when it has nothing left. Answers how many jobs
-- it still has, or 1 where attempts are left.
--
-- workers, owner:{owner}:jobs, job:{id}, ready:…, flows:…   see include/ready
-- attempts:{owner}, inflight:…, breaker:…, cost:{day}        see include/lost
--
-- ARGV: prefix, ttl_ms, owner, most jobs in one go
-- include: common
-- include: ready
-- include: ledger
-- include: lost
free_first()
local owner, budget = ARGV[3], tonumber(ARGV[4])
local _, more_attempts = lose_attempts(owner, budget)
write_books()
local mine = key('owner', owner, 'jobs')
local claims = redis.call('HGETALL', mine)
for i = 1, math.min(#claims, 2 * budget), 2 do
  local job = read_job(claims[i + 1])
  if job and job.state == 'in_progress' and job.owner == owner and job.cnonce == claims[i] then
    give_back(job)
  else
    redis.call('HDEL', mine, claims[i])
  end
end
local left = redis.call('HLEN', mine)
if left == 0 and more_attempts then return 1 end
if left == 0 then redis.call('ZREM', key('workers'), owner) end
return left
