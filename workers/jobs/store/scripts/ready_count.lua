-- How many jobs wait in some classes.
--
-- ready:…, flows:…   see include/ready; read
--
-- ARGV: prefix, ttl_ms, then the classes
-- include: common
local count = 0
for _, class in ipairs({unpack(ARGV, 3)}) do
  for _, flow in ipairs(redis.call('ZRANGE', key('flows', class), 0, -1)) do
    count = count + redis.call('ZCARD', key('ready', class, flow))
  end
end
return count
