-- Worker processes that live and how many jobs each has. Answers owner, count, …
--
-- workers              zset  read
-- owner:{owner}:jobs   hash  its length is read
--
-- ARGV: prefix, ttl_ms, lease_ms
-- include: common
local answer = {}
for _, owner in ipairs(redis.call('ZRANGE', key('workers'), '(' .. (now - ARGV[3]), '+inf', 'BYSCORE')) do
  answer[#answer + 1] = owner
  answer[#answer + 1] = redis.call('HLEN', key('owner', owner, 'jobs'))
end
return answer
