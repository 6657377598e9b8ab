-- include: ready
-- Jobs put aside until a slot is free, at each place that has a limit of calls in flight: a provider account, `p`, or a model
-- of it, `p|m`. They stand as in the ready queue; whoever left jobs:delayed meanwhile is passed over when his turn comes.
--
-- waiting:{place}                 zset  class -> rank: classes with jobs that wait there
-- waiting:{place}:{class}         zset  flow -> turns it was given
-- waiting:{place}:{class}:{flow}  zset  id -> created
--                                 all three expire an hour after the last of their jobs is due anyhow
-- turns                           hash  slots: how many were given while several classes waited
local RANKS = {high = 1, normal = 2, low = 3, batch = 4, suspect = 5}
local WAITING_KEPT_MS, MOST_PASSED = 3600000, 100

local function wait_at(place, job, delay_ms)
  local classes, flows = key('waiting', place), key('waiting', place, job.class)
  local jobs = key('waiting', place, job.class, job.flow)
  redis.call('ZADD', classes, RANKS[job.class] or 3, job.class)
  enter_flow(flows, job.flow)
  redis.call('ZADD', jobs, job.created, job.id)
  for _, name in ipairs({classes, flows, jobs}) do
    redis.call('PEXPIRE', name, string.format('%.0f', math.max(delay_ms + WAITING_KEPT_MS, redis.call('PTTL', name))))
  end
end

-- The class whose turn it is: the highest that has jobs, and every tenth time the lowest.
local function class_in_turn(classes)
  local all = redis.call('ZRANGE', classes, 0, -1)
  if not all[2] then return all[1] end
  local turn = redis.call('HINCRBY', key('turns'), 'slots', 1)
  return turn % 10 == 0 and all[#all] or all[1]
end

local function next_at(place)
  local classes = key('waiting', place)
  for _ = 1, MOST_PASSED do
    local class = class_in_turn(classes)
    if not class then return nil end
    local flows = key('waiting', place, class)
    local flow = redis.call('ZRANGE', flows, 0, 0)[1]
    local id = flow and redis.call('ZRANGE', key('waiting', place, class, flow), 0, 0)[1]
    if not flow then
      redis.call('ZREM', classes, class)
    elseif not id then
      redis.call('ZREM', flows, flow)
    else
      redis.call('ZREM', key('waiting', place, class, flow), id)
      local job = redis.call('ZSCORE', key('jobs', 'delayed'), id) and read_job(id)
      if job and job.state == 'queued' then
        redis.call('ZINCRBY', flows, 1, flow)
        return job
      end
    end
  end
end

-- Put up to `count` jobs that wait at a place back in line; their ids are added to `moved_ids`.
local function let_in(place, count, moved_ids)
  if redis.call('EXISTS', key('waiting', place)) == 0 then return end
  for _ = 1, count do
    local job = next_at(place)
    if not job then return end
    redis.call('ZREM', key('jobs', 'delayed'), job.id)
    redis.call('ZREM', key('tenant', job.tenant, 'delayed'), job.id)
    push(job)
    moved_ids[#moved_ids + 1] = job.id
  end
end
