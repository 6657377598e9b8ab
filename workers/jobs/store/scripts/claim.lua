-- Give the next job due to an owner. The same nonce gets the same job again, as long as the owner has it.
-- Answers {'job', id, tenant, kind, model, req, class, fence, deliveries, deaths, cfg, attempts, remaining ms, age ms, rid},
-- {'none'}, or {'more'} when it met nothing but jobs to clear away and there may be others behind them.
--
-- job:{id}               hash  in_progress, owner, claim nonce, new fence, deliveries + 1; what it waited for goes
-- owner:{owner}:jobs     hash  nonce -> id; no expiry: it empties with its jobs
-- workers                zset  the owner enters with now as its score, so that rescue knows of it
-- turns                  hash  claims: how many were given over several classes; lower: the lower class served last
-- ready:…, flows:…       see include/ready; jobs past their deadline end here, see include/terminal
--
-- ARGV: prefix, ttl_ms, owner, nonce, how many entries may be cleared away, then the classes, highest first
-- include: common
-- include: ready
-- include: terminal
local owner, nonce, budget = ARGV[3], ARGV[4], tonumber(ARGV[5])
local classes = {unpack(ARGV, 6)}
local mine = key('owner', owner, 'jobs')

local function answer(id)
  local job = redis.call('HMGET', key('job', id), 'tenant', 'kind', 'model', 'req', 'class', 'fence', 'deliveries',
                         'deaths', 'cfg', 'attempts', 'deadline', 'created', 'rid')
  return {'job', id, job[1], job[2], job[3], job[4], job[5], job[6], job[7], job[8], job[9], job[10], job[11] - now,
          now - job[12], job[13]}
end

local held = redis.call('HGET', mine, nonce)
if held then
  if redis.call('EXISTS', key('job', held)) == 1 then return answer(held) end -- sent again: the first answer was late
  redis.call('HDEL', mine, nonce)
  return {'none'}
end

-- A queue that fills Redis must be able to drain.
free_first()

-- The flow served least and its oldest job; flows found empty leave the class.
local function head(class)
  while budget > 0 do
    local flow = redis.call('ZRANGE', key('flows', class), 0, 0)[1]
    if not flow then return nil end
    local id = redis.call('ZRANGE', key('ready', class, flow), 0, 0)[1]
    if id then return flow, id end
    redis.call('ZREM', key('flows', class), flow)
    budget = budget - 1
  end
end

local function take(class)
  while budget > 0 do
    local flow, id = head(class)
    if not flow then return nil end
    local job = read_job(id)
    if not job or job.state ~= 'queued' then
      redis.call('ZREM', key('ready', class, flow), id)
    elseif tonumber(job.deadline) <= now then
      expire_job(job)
    else
      return job
    end
    budget = budget - 1
  end
end

-- Every tenth turn the classes below the highest that has jobs come first, beginning after the one served so last.
local function lower_first()
  local waiting = {}
  for _, class in ipairs(classes) do
    if head(class) then table.insert(waiting, class) end
  end
  local order, last = {}, redis.call('HGET', key('turns'), 'lower')
  for i = 2, #waiting do
    if waiting[i] == last then
      for j = i + 1, #waiting do table.insert(order, waiting[j]) end
    end
  end
  for i = 2, #waiting do table.insert(order, waiting[i]) end
  if order[1] then redis.call('HSET', key('turns'), 'lower', order[1]) end
  table.insert(order, waiting[1])
  return order
end

local function in_turn()
  if #classes == 1 then return classes end
  local turn = (tonumber(redis.call('HGET', key('turns'), 'claims')) or 0) + 1
  return turn % 10 == 0 and lower_first() or classes
end

for _, class in ipairs(in_turn()) do
  local job = take(class)
  if job then
    redis.call('ZREM', key('ready', job.class, job.flow), job.id)
    redis.call('ZINCRBY', key('flows', job.class), 1, job.flow)
    local delivery = (tonumber(job.deliveries) or 0) + 1
    redis.call('HSET', key('job', job.id), 'state', 'in_progress', 'owner', owner, 'cnonce', nonce, 'started', now,
               'fence', next_fence(job, nonce), 'deliveries', delivery, 'hist', moved(job, 'p', delivery))
    redis.call('HDEL', key('job', job.id), 'waits', 'waits_until')
    redis.call('HSET', mine, nonce, job.id)
    redis.call('ZADD', key('workers'), 'NX', now, owner)
    if #classes > 1 then redis.call('HINCRBY', key('turns'), 'claims', 1) end
    return answer(job.id)
  end
end
return {budget > 0 and 'none' or 'more'}
