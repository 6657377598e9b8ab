-- ready:{class}:{flow}  zset id -> created    jobs that wait, oldest first
-- flows:{class}         zset flow -> turns    flows with jobs; the least served is next

-- A flow that was away starts level with the one served least: it is not behind, and has saved up nothing. A flow found empty
-- stays until its next turn, so that one which fills again at once keeps its count.
local function enter_flow(flows, flow)
  if not redis.call('ZSCORE', flows, flow) then
    local least = redis.call('ZRANGE', flows, 0, 0, 'WITHSCORES')
    redis.call('ZADD', flows, least[2] or 0, flow)
  end
end

-- Put a job in its place by age.
local function push(job)
  redis.call('ZADD', key('ready', job.class, job.flow), job.created, job.id)
  enter_flow(key('flows', job.class), job.flow)
end

-- Take a running job from its owner, under `job.class`; it has no place in line then. `...`: how that is told, see moved.
local function take_from_owner(job, ...)
  redis.call('HDEL', key('owner', job.owner, 'jobs'), job.cnonce)
  redis.call('HSET', key('job', job.id), 'state', 'queued', 'class', job.class, 'fence', next_fence(job, 'none'),
             'hist', moved(job, ...))
  redis.call('HDEL', key('job', job.id), 'owner', 'cnonce', 'started')
end

-- Take a running job from its owner and put it back in its old place, under `job.class`.
local function requeue(job, what)
  take_from_owner(job, what)
  push(job)
end

-- As requeue, for a job that did no harm and was not run to its end: the delivery is not counted.
local function give_back(job)
  requeue(job, 'q')
  redis.call('HINCRBY', key('job', job.id), 'deliveries', -1)
end
