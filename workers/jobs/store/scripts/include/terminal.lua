-- include: outbox
local END = {completed = 'c', failed = 'f', cancelled = 'x', expired = 'e'} -- as hist has it, see include/common

local function count_end(tenant)
  local name = ended_key(0)
  redis.call('HINCRBY', name, '*', 1)
  redis.call('HINCRBY', name, tenant, 1)
  redis.call('PEXPIRE', name, 60000)
end

-- Write a job's end, once: the caller has seen that it is queued or in_progress.
-- job:{id}                       state, finished and `how.fields`; expiry set; the request goes unless `how.keep_request`
-- idem:{tenant}:{digest}         expiry set: as long as the job, and a day from its submit at least
-- jobs:deadline, jobs:delayed, tenant:{id}:delayed, ready:…, owner:…:jobs   the job leaves
-- ended:{slot}                   hash  tenant -> jobs of it that ended in a slot of 5 s, *: of all; expires after a minute
-- channel done                   its id
-- delivery:…, outbox:…           the event for the job's webhook, where it has one: see include/outbox
-- channel stop:{owner}           the claim's nonce, when its owner runs it and did not end it itself (`how.by_owner`)
local function finish(job, state, how)
  local name = key('job', job.id)
  if job.state == 'in_progress' then
    redis.call('HDEL', key('owner', job.owner, 'jobs'), job.cnonce)
    if not how.by_owner then
      redis.call('HSET', name, 'fence', next_fence(job, 'none'))
      redis.call('PUBLISH', key('stop', job.owner), job.cnonce)
    end
  else
    redis.call('ZREM', key('ready', job.class, job.flow), job.id)
    redis.call('ZREM', key('jobs', 'delayed'), job.id)
    redis.call('ZREM', key('tenant', job.tenant, 'delayed'), job.id)
  end
  redis.call('ZREM', key('jobs', 'deadline'), job.id)
  redis.call('HSET', name, 'state', state, 'finished', now, 'hist', history(job, END[state]), unpack(how.fields or {}))
  redis.call('HDEL', name, 'owner', 'cnonce')
  if not how.keep_request then redis.call('HDEL', name, 'req') end
  redis.call('PEXPIRE', name, ttl_ms)
  if job.idem then
    local kept_ms = math.max(tonumber(ttl_ms), job.created + IDEMPOTENCY_MS - now)
    redis.call('PEXPIRE', key('idem', job.tenant, job.idem), string.format('%.0f', kept_ms))
  end
  count_end(job.tenant)
  if job.webhook then emit('evt_' .. string.sub(job.id, 5), job.webhook, 'job.' .. state, job.id) end
  redis.call('PUBLISH', key('done'), job.id)
end

local function expire_job(job)
  local message, why = 'The deadline passed before the job was finished', redis.call('HGET', key('job', job.id), 'waits')
  if why then message = message .. '; it waited for a provider: ' .. why end
  finish(job, 'expired', {fields = {'error_code', 'deadline_exceeded', 'error_message', message}})
end
