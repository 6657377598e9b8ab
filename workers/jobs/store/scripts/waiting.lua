-- How many jobs wait in some classes, and how old the oldest of each is. Answers class, count, age in ms, class, …
--
-- ready:…, flows:…   see include/ready; read
--
-- ARGV: prefix, ttl_ms, then the classes
-- include: common
local answer = {}
for _, class in ipairs({unpack(ARGV, 3)}) do
  local count, oldest = 0, now
  for _, flow in ipairs(redis.call('ZRANGE', key('flows', class), 0, -1)) do
    local name = key('ready', class, flow)
    count = count + redis.call('ZCARD', name)
    local first = redis.call('ZRANGE', name, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
  answer[#answer + 1] = class
  answer[#answer + 1] = count
  answer[#answer + 1] = math.max(0, now - oldest)
end
return answer
