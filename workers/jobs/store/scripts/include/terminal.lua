-- Write a job's end, once: the caller has seen that it is queued or in_progress.
-- job:{id}                       state, finished and `how.fields`; expiry set; the request goes unless `how.keep_request`
-- idem:{tenant}:{digest}         expiry set, the same
-- jobs:deadline, jobs:delayed, ready:…, owner:…:jobs   the job leaves
-- channel done                   its id
-- delivery:…, outbox:…           the event for the job's webhook, where it has one: see include/outbox
-- channel stop:{owner}           the claim's nonce, when its owner runs it and did not end it itself (`how.by_owner`)
-- include: outbox
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
  end
  redis.call('ZREM', key('jobs', 'deadline'), job.id)
  redis.call('HSET', name, 'state', state, 'finished', now, unpack(how.fields or {}))
  redis.call('HDEL', name, 'owner', 'cnonce')
  if not how.keep_request then redis.call('HDEL', name, 'req') end
  redis.call('PEXPIRE', name, ttl_ms)
  if job.idem then redis.call('PEXPIRE', key('idem', job.tenant, job.idem), ttl_ms) end
  if job.webhook then emit('evt_' .. string.sub(job.id, 5), job.webhook, 'job.' .. state, job.id) end
  redis.call('PUBLISH', key('done'), job.id)
end

local function expire_job(job)
  finish(job, 'expired', {fields = {'error_code', 'deadline_exceeded',
                                    'error_message', 'The deadline passed before the job was finished'}})
end
