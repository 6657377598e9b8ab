-- End the jobs whose deadline has passed. Answers the ids that ended.
--
-- jobs:deadline   zset  id -> the instant of its deadline; no expiry: it empties with its jobs
-- job:{id}        hash  see include/terminal
--
-- ARGV: prefix, ttl_ms, most entries to look at
-- include: common
-- include: terminal
free_first()
local due = redis.call('ZRANGEBYSCORE', key('jobs', 'deadline'), '-inf', now, 'LIMIT', 0, ARGV[3])
local ended = {}
for _, id in ipairs(due) do
  local job = read_job(id)
  if job and (job.state == 'queued' or job.state == 'in_progress') then
    expire_job(job)
    table.insert(ended, id)
  else
    redis.call('ZREM', key('jobs', 'deadline'), id)
  end
end
return ended
