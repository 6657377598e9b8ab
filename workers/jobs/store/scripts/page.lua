-- Some of a tenant's jobs, newest first, from behind a given one. Members whose job is gone are passed over.
-- Answers {id of the last one looked at or '', 1 when there are older ones, {{id, field, field, …}, …}}.
--
-- tenant:{id}:jobs   zset  id -> created; read
-- job:{id}           hash  read
--
-- ARGV: prefix, ttl_ms, tenant, status or '', most jobs, most members to look at, the id to begin behind or '',
--       its instant where the list has forgotten it, then the names of the fields to answer
-- include: common
local tenant, status, limit, scan, after, instant_ms = unpack(ARGV, 3, 8)
local fields = {unpack(ARGV, 9)}
local list, start = key('tenant', tenant, 'jobs'), 0
limit = tonumber(limit)

if after ~= '' then
  local rank = redis.call('ZREVRANK', list, after)
  start = rank and rank + 1 or redis.call('ZCOUNT', list, instant_ms, '+inf')
end

local members = redis.call('ZREVRANGE', list, start, start + scan - 1)
local found, last = {}, ''
for _, id in ipairs(members) do
  local state = redis.call('HGET', key('job', id), 'state')
  if state and (status == '' or state == status) then
    if #found == limit then return {last, 1, found} end
    table.insert(found, {id, unpack(redis.call('HMGET', key('job', id), unpack(fields)))})
  end
  last = id
end
return {last, redis.call('ZCARD', list) > start + #members and 1 or 0, found}
