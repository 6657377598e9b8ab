-- Put a claimed job back in its old place, at no cost. Answers 1, or 0: the fence is not the job's (any more).
--
-- job:{id}, owner:{owner}:jobs, ready:…, flows:…   see include/ready
--
-- ARGV: prefix, ttl_ms, id, fence
-- include: common
-- include: ready
local job = read_job(ARGV[3])
if not job or job.state ~= 'in_progress' or job.fence ~= ARGV[4] then return 0 end
free_first()
give_back(job)
return 1
