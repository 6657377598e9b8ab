-- Write what became of a claimed delivery. Answers {'ok' | 'stale', why the endpoint was disabled by it or ''}: stale is a claim
-- that is another's by now, or whose delivery or endpoint is gone; nothing is written then.
--
-- delivery:{id}               hash  state, tried, tries; settled: the claim, which is over
-- outbox:{endpoint}           zset  due again, or it leaves
-- outbox:{endpoint}:busy      zset  it leaves
-- outbox:tenant:{tenant}       zset  it leaves
-- outbox:tenant:{tenant}:wait  set   one endpoint that waited for it leaves, and is looked at
-- outbox:{endpoint}:ended     zset  id -> its end: of more than there may be the oldest are deleted; expires as deliveries do
-- webhook:{endpoint}          hash  failing: since when nothing was taken, failures: so many attempts; both leave at a success;
--                                   enabled, disabled_reason: after a 410, or after failing for long enough
-- outbox                      zset  see include/looks
--
-- ARGV: prefix, 0, id, claim, delivered | retry | failed | released, the attempt as JSON, wait_ms, reason to disable or '',
--       disable_after_ms, least failures for that, most ended deliveries
-- include: common
-- include: outbox
-- include: looks
-- include: tries
local id, nonce, ending, try, wait_ms, reason = unpack(ARGV, 3, 8)
local disable_after_ms, least_failures, most_ended = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local name = key('delivery', id)
local held = redis.call('HMGET', name, 'endpoint', 'claim', 'settled')
local endpoint = held[1]
if endpoint and held[3] == nonce then return {'ok', ''} end -- sent again: the first answer was late
if held[2] ~= nonce then return {'stale', ''} end
free_first()

local hook, line, ended = key('webhook', endpoint), key('outbox', endpoint), key('outbox', endpoint, 'ended')
redis.call('ZREM', key('outbox', endpoint, 'busy'), id)
local tenant = redis.call('HGET', hook, 'tenant')
if not tenant then
  redis.call('DEL', name)
  return {'stale', ''}
end

redis.call('ZREM', key('outbox', 'tenant', tenant), id)
local waits = redis.call('SPOP', key('outbox', 'tenant', tenant, 'wait'))

local function close(state)
  redis.call('HSET', name, 'state', state)
  redis.call('ZREM', line, id)
  put(ended, now, id)
  local over = redis.call('ZCARD', ended) - most_ended
  for _, oldest in ipairs(over > 0 and redis.call('ZRANGE', ended, 0, over - 1) or {}) do
    redis.call('ZREM', ended, oldest)
    redis.call('ZREM', key('outbox', endpoint, 'log'), oldest)
    redis.call('DEL', key('delivery', oldest))
  end
end

local function count_failure()
  redis.call('HSETNX', hook, 'failing', now)
  local failures = redis.call('HINCRBY', hook, 'failures', 1)
  local since = tonumber(redis.call('HGET', hook, 'failing'))
  if reason == '' and failures >= least_failures and now - since >= disable_after_ms then reason = 'failing' end
  if reason == '' or redis.call('HGET', hook, 'enabled') ~= '1' then return '' end
  redis.call('HSET', hook, 'enabled', 0, 'disabled_reason', reason, 'updated', now)
  return reason
end

local disabled = ''
redis.call('HDEL', name, 'claim', 'claimed')
redis.call('HSET', name, 'settled', nonce)
if ending == 'released' then
  redis.call('ZADD', line, now + wait_ms, id)
else
  add_try(id, cjson.decode(try))
  redis.call('HINCRBY', name, 'tried', 1)
  if ending == 'delivered' then
    redis.call('HDEL', hook, 'failing', 'failures')
    close('delivered')
  else
    if ending == 'retry' then redis.call('ZADD', line, now + wait_ms, id) else close('failed') end
    disabled = count_failure()
  end
end
look_when_due(endpoint)
if waits then look_when_due(waits) end
return {'ok', disabled}
