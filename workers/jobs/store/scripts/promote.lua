-- Move jobs that were put aside, and are due, to their old places in line. Answers their ids.
--
-- jobs:delayed      zset  id -> the instant from which it is due; those leave, as they do tenant:{id}:delayed
-- ready:…, flows:…  see include/ready
--
-- ARGV: prefix, ttl_ms, most jobs in one go
-- include: common
-- include: ready
free_first()
local delayed, moved = key('jobs', 'delayed'), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', delayed, id)
  local job = read_job(id)
  if job and job.state == 'queued' then
    redis.call('ZREM', key('tenant', job.tenant, 'delayed'), id)
    push(job)
    table.insert(moved, id)
  end
end
return moved
