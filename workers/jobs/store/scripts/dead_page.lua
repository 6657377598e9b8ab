-- Some dead letters, the latest first, from behind a given one; those that are gone leave the list.
-- Answers {1 when there may be older ones, {{id, ms until it is gone, field, field, …}, …}}.
--
-- dead, dead:{tenant}   zset  id -> finished
-- job:{id}              hash  read
--
-- ARGV: prefix, ttl_ms, tenant or '' for all, most letters, the id to begin behind or '', then the names of the fields
-- include: common
local tenant, limit, after = unpack(ARGV, 3, 5)
local list, start = tenant == '' and key('dead') or key('dead', tenant), 0
redis.call('ZREMRANGEBYSCORE', list, '-inf', now - ttl_ms)

if after ~= '' then
  local rank = redis.call('ZREVRANK', list, after)
  if not rank then return {0, {}} end -- what is gone was among the oldest: nothing is left behind it
  start = rank + 1
end

local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', list, start, start + limit - 1)) do
  local left_ms = redis.call('PTTL', key('job', id))
  if left_ms < 0 then
    redis.call('ZREM', list, id)
  else
    table.insert(found, {id, left_ms, unpack(redis.call('HMGET', key('job', id), unpack(ARGV, 6)))})
  end
end
local last = found[#found] and redis.call('ZREVRANK', list, found[#found][1])
return {last and redis.call('ZCARD', list) > last + 1 and 1 or 0, found}
