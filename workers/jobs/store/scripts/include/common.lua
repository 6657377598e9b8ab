-- What every script starts with. ARGV[1] is the prefix, ARGV[2] how long a finished job is kept (ms).
-- Keys are made from the prefix, not declared: the store does not run on Redis Cluster.
local prefix, ttl_ms = ARGV[1], ARGV[2]
local instant = redis.call('TIME')
local now = instant[1] * 1000 + math.floor(instant[2] / 1000)

local function key(...)
  return prefix .. ':' .. table.concat({...}, ':')
end

-- An idempotency claim outlives its job where that is gone sooner after its submit.
local IDEMPOTENCY_MS = 86400000

-- Jobs that end are counted by slots of time, so that it is known how fast the queue drains.
local ENDED_SLOT_MS = 5000
local function ended_key(back)
  return key('ended', string.format('%.0f', math.floor(now / ENDED_SLOT_MS) - back))
end

-- Redis judges its memory at a script's first write only, and never refuses a delete, even of a key that is not there.
-- Whatever must work on a full Redis begins with this.
local function free_first()
  redis.call('DEL', key('none'))
end

local JOB_FIELDS = {'state', 'tenant', 'class', 'flow', 'created', 'deadline', 'owner', 'cnonce', 'dnonce', 'fence',
                    'idem', 'deliveries', 'deaths', 'hist', 'webhook'}

-- A job's fields without its request and result; nil when there is no such job.
local function read_job(id)
  local values = redis.call('HMGET', key('job', id), unpack(JOB_FIELDS))
  if not values[1] then return nil end
  local job = {id = id}
  for i, name in ipairs(JOB_FIELDS) do job[name] = values[i] end
  return job
end

-- The counter of a fence only grows; 'none' as nonce is a fence that nobody holds.
local function next_fence(job, nonce)
  local counter = tonumber(string.match(job.fence or '0', '^%d+'))
  return (counter + 1) .. ':' .. nonce
end

-- hist of job:{id}: what happened to it, in order, each {number}{what}{instant}.{delivery}[.{until}]; about 20 bytes. What:
-- q queued, p in progress, a put aside until then, l its owner was lost, c completed, f failed, x cancelled, e expired.
-- Of a very long life the first and the last 100 are kept; numbers go on.
local LONGEST_HIST, KEPT_ENDS = 12000, 100

local function without_middle(hist)
  local all, kept = {}, {}
  for one in string.gmatch(hist, '[^;]+;') do all[#all + 1] = one end
  for i, one in ipairs(all) do
    if i <= KEPT_ENDS or i > #all - KEPT_ENDS then kept[#kept + 1] = one end
  end
  return table.concat(kept)
end

-- The job's history with one thing more: the caller writes it together with what happened.
local function history(job, what, delivery, until_ms)
  local hist = job.hist or ''
  local last = string.match(string.sub(hist, -64), '(%d+)%a[^;]*;$') or 0
  if #hist > LONGEST_HIST then hist = without_middle(hist) end
  job.hist = hist .. (last + 1) .. what .. now .. '.' .. (delivery or job.deliveries or 0)
    .. (until_ms and '.' .. until_ms or '') .. ';'
  return job.hist
end

-- The same, of what does not end the job; whoever watches it is told (its end is told by the channel done).
local function moved(job, ...)
  redis.call('PUBLISH', key('moved', job.id), '')
  return history(job, ...)
end
