-- How the targets stand that were called last, at most `most` of them. Answers JSON: a list of states.
--
-- targets, breaker:{p}, breaker:{p}:{m}, inflight:{p}:{m}   read
--
-- ARGV: prefix, ttl_ms, rules as JSON, most
-- include: common
local rules = cjson.decode(ARGV[3])
-- include: hashes
-- include: breaker
-- include: window
-- include: shown

local rows = {}
for _, member in ipairs(redis.call('ZREVRANGE', key('targets'), 0, tonumber(ARGV[4]) - 1)) do
  local provider, model, p, m = unpack(cjson.decode(member))
  rows[#rows + 1] = shown(provider, model, hash('breaker', p, m), hash('breaker', p), flying('', p, m).total)
end
return #rows > 0 and cjson.encode(rows) or '[]'
