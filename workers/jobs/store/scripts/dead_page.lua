-- Some dead letters, the latest first, from behind a given one; those that are gone leave the list.
-- Answers {1 when there may be older ones, {{id, ms until it is gone, field, field, …}, …}}.
--
-- dead, dead:{tenant}   zset  id -> finished
-- job:{id}              hash  read
--
-- ARGV: prefix, ttl_ms, tenant or '' for all, most letters, the id to begin behind or '', the instant of its end where the
--       list has forgotten it, then the names of the fields to answer
-- include: common
local MOST_LOOKS = 100
local tenant, limit, after, instant_ms = unpack(ARGV, 3, 6)
local list, start = tenant == '' and key('dead') or key('dead', tenant), 0
limit = tonumber(limit)
redis.call('ZREMRANGEBYSCORE', list, '-inf', now - ttl_ms)

if after ~= '' then
  local rank = redis.call('ZREVRANK', list, after)
  start = rank and rank + 1 or redis.call('ZCOUNT', list, '(' .. instant_ms, '+inf')
end

local found, looks = {}, MOST_LOOKS
while #found < limit and looks > 0 do
  local ids = redis.call('ZREVRANGE', list, start + #found, start + limit - 1)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    local left_ms = redis.call('PTTL', key('job', id))
    if left_ms < 0 then
      redis.call('ZREM', list, id)
    else
      table.insert(found, {id, left_ms, unpack(redis.call('HMGET', key('job', id), unpack(ARGV, 7)))})
    end
  end
  looks = looks - 1
end
return {redis.call('ZCARD', list) > start + #found and 1 or 0, found}
