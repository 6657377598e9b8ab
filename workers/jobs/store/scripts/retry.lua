-- Make a new job of a dead letter, once however often it is asked for. The new one begins as a suspect, so that it is run
-- alone and can take nobody with it. Answers {id, 'created' | 'replayed', tenant}, {'', 'none', ''}: no such job of
-- theirs, or {'', 'refused', ''}: it is no dead letter.
--
-- job:{id}            hash  of the dead letter: retried; of the new job: written, no expiry until it ends
-- tenant:{id}:jobs, jobs:deadline, ready:…, flows:…   see include/entry
--
-- ARGV: prefix, ttl_ms, id of the dead letter, tenant or '' for any, id of the new job, id of the request or ''
-- include: common
-- include: ready
-- include: entry
local id, tenant, new, rid = unpack(ARGV, 3, 6)
local KEPT = {'tenant', 'kind', 'model', 'flow', 'cfg', 'req', 'meta', 'webhook', 'created', 'deadline', 'deaths', 'error_code',
              'retried'}
local dead = {}
for i, value in ipairs(redis.call('HMGET', key('job', id), unpack(KEPT))) do dead[KEPT[i]] = value end

if not dead.tenant or (tenant ~= '' and dead.tenant ~= tenant) then return {'', 'none', ''} end
if dead.error_code ~= 'poisoned' or not dead.req then return {'', 'refused', ''} end
if dead.retried then return {dead.retried, dead.retried == new and 'created' or 'replayed', dead.tenant} end

local deadline_ms, more = dead.deadline - dead.created, {}
for name, value in pairs({meta = dead.meta, webhook = dead.webhook, rid = rid ~= '' and rid}) do
  if value then
    more[#more + 1] = name
    more[#more + 1] = value
  end
end
-- Two deaths alone bury it again: it begins with those that an innocent may have had among others.
-- The first write is one that a full Redis refuses: then nothing is written. What follows it is never refused.
redis.call('HSET', key('job', new), 'state', 'queued', 'tenant', dead.tenant, 'kind', dead.kind, 'model', dead.model,
           'class', 'suspect', 'flow', dead.flow, 'created', now, 'deadline', now + deadline_ms, 'cfg', dead.cfg,
           'req', dead.req, 'deaths', math.max(0, dead.deaths - 2), 'retry_of', id, 'hist', history({}, 'q'),
           unpack(more))
redis.call('HSET', key('job', id), 'retried', new)
enter({id = new, tenant = dead.tenant, class = 'suspect', flow = dead.flow, created = now}, deadline_ms)
return {new, 'created', dead.tenant}
