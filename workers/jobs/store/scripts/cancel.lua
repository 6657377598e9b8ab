-- End a job by its owner's wish; a finished one stays as it is. Answers the job's fields, or nil: no such job of theirs.
--
-- job:{id}   hash   see include/terminal
--
-- ARGV: prefix, ttl_ms, id, tenant or '' for any, then the names of the fields to answer
-- include: common
-- include: terminal
local id, tenant = ARGV[3], ARGV[4]
local job = read_job(id)
if not job or (tenant ~= '' and job.tenant ~= tenant) then return nil end
if job.state == 'queued' or job.state == 'in_progress' then
  free_first()
  finish(job, 'cancelled', {})
end
return redis.call('HMGET', key('job', id), unpack(ARGV, 5))
