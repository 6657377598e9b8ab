-- include: tried
-- Close the open attempts of a worker that is gone: each is booked as lost, and shows in its job.
--
-- attempts:{owner}                hash    emptied; see begin.lua of workers.jobs.gate
-- inflight:{p}, inflight:{p}:{m}  hash    the owner leaves
-- breaker:{p}, breaker:{p}:{m}    hash    a permit that it held is free again
-- job:{id}                        hash    attempts: one more, unless another worker runs the job by now
-- cost:{day}                      hash    see include/ledger

local function land(owner, ...)
  local name = key('inflight', ...)
  if redis.call('HINCRBY', name, owner, -1) <= 0 then redis.call('HDEL', name, owner) end
end

local function free_permit(attempt, ...)
  local name = key('breaker', ...)
  if redis.call('HGET', name, 'permit') == attempt then
    redis.call('HSET', name, 'state', 'open', 'next', now)
    redis.call('HDEL', name, 'permit', 'permit_until')
  end
end

local function show(owner, record)
  local job = record.job and read_job(record.job)
  if not job or (job.state == 'in_progress' and job.owner ~= owner) then return end
  add_attempt(job, record, 'lost', nil)
end

local function lose(owner, attempt, record)
  local tenant = record.probe and '(probe)' or record.tenant
  book(tenant, record.p, record.m, 'calls', 1)
  book(tenant, record.p, record.m, 'lost', 1)
  book(tenant, record.p, record.m, 'maybe_billed', 1)
  for _, what in ipairs({'lost', 'maybe'}) do
    local known = record.upper and what .. '_upper_usd' or what .. '_unbounded'
    book(tenant, record.p, record.m, known, record.upper or 1)
  end
  land(owner, record.p)
  land(owner, record.p, record.m)
  if record.permit then
    free_permit(attempt, record.p)
    free_permit(attempt, record.p, record.m)
  end
  show(owner, record)
end

-- Close up to `most` of them; answers how many, and whether there are more. The caller writes the books.
local function lose_attempts(owner, most)
  local name, closed = key('attempts', owner), 0
  local open = redis.call('HGETALL', name)
  for i = 1, #open, 2 do
    if closed == most then return closed, true end
    redis.call('HDEL', name, open[i])
    lose(owner, open[i], cjson.decode(open[i + 1]))
    closed = closed + 1
  end
  return closed, false
end
