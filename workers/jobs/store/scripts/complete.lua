-- Write how a job ended, when the fence is the job's own; the same completion nonce again is as good.
-- Answers 1, or 0 for a stale write: refused, counted once for a nonce, its cost booked.
--
-- job:{id}               hash    see include/terminal; late:{nonce}: the cost of a refused completion, '' when unknown
-- late:{nonce}           string  the same, where the job is gone; expires as a job would
-- counters               hash    stale_writes, late_cost_usd
--
-- ARGV: prefix, ttl_ms, id, fence, nonce, state, cost in USD or '', then names and values of fields
-- include: common
-- include: terminal
local id, fence, nonce, state, cost = unpack(ARGV, 3, 7)
local job = read_job(id)

if job and job.dnonce == nonce then return 1 end -- sent again: the first answer was late
free_first()

if job and job.state == 'in_progress' and job.fence == fence then
  finish(job, state, {by_owner = true, fields = {'dnonce', nonce, unpack(ARGV, 8)}})
  return 1
end

local first
if job then
  first = redis.call('HSETNX', key('job', id), 'late:' .. nonce, cost) == 1
else
  first = redis.call('SET', key('late', nonce), cost, 'NX', 'PX', ttl_ms)
end
if first then
  redis.call('HINCRBY', key('counters'), 'stale_writes', 1)
  if cost ~= '' then redis.call('HINCRBYFLOAT', key('counters'), 'late_cost_usd', cost) end
end
return 0
