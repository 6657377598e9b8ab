-- What every script starts with. ARGV[1] is the prefix, ARGV[2] how long a finished job is kept (ms).
-- Keys are made from the prefix, not declared: the store does not run on Redis Cluster.
local prefix, ttl_ms = ARGV[1], ARGV[2]
local instant = redis.call('TIME')
local now = instant[1] * 1000 + math.floor(instant[2] / 1000)

local function key(...)
  return prefix .. ':' .. table.concat({...}, ':')
end

-- Redis judges its memory at a script's first write only, and never refuses a delete, even of a key that is not there.
-- Whatever must work on a full Redis begins with this.
local function free_first()
  redis.call('DEL', key('none'))
end

local JOB_FIELDS = {'state', 'tenant', 'class', 'flow', 'created', 'deadline', 'owner', 'cnonce', 'dnonce', 'fence',
                    'idem', 'deliveries', 'deaths', 'webhook'}

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
