-- What its holder says of a thing in the making: it goes on, it is made, it will not be made. Answers 1, or 0: the right to
-- make it is another one's by now, or the thing is made. The same word of the same holder again is as good.
--
-- once:{tenant}:{scope}:{digest}   hash   see begin; kept for kept_ms from when it is made
--
-- ARGV: prefix, ttl_ms, tenant, scope, digest, holder, 'renew' | 'finish' | 'release', lease_ms or kept_ms, value
-- include: common
local name = key('once', ARGV[3], ARGV[4], ARGV[5])
local holder, word, ms, value = unpack(ARGV, 6, 9)
local held = redis.call('HMGET', name, 'holder', 'value')
if held[1] ~= holder then return 0 end
if held[2] then return word == 'finish' and held[2] == value and 1 or 0 end
free_first()
if word == 'release' then
  redis.call('DEL', name)
  return 1
end
if word == 'finish' then redis.call('HSET', name, 'value', value) end
redis.call('PEXPIRE', name, ms)
return 1
