-- Bring answers to those who wait, many in one go. Answers of each 1, or 0: the flight is not the caller's (any more).
-- On a full Redis nothing is written: an answer that is only shared is not what the last memory is for.
--
-- flight:{version}:{tenant}:{sha256}   hash, see flights.lua: the answer comes in, those who wait go; expires after ms
-- flights:{owner}                      channel: the flight's name, to each process that waits
--
-- ARGV: prefix, then of each: name, nonce, ms, answer
local prefix = ARGV[1]

local function land(name, nonce, ms, answer)
  local flight = prefix .. ':flight:' .. name
  if redis.call('HGET', flight, 'leader') ~= nonce then return 0 end
  local fields = redis.call('HKEYS', flight)
  redis.call('HSET', flight, 'landed', answer)
  redis.call('PEXPIRE', flight, ms)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 2) == 'w:' then
      redis.call('HDEL', flight, field)
      redis.call('PUBLISH', prefix .. ':flights:' .. string.sub(field, 3), name)
    end
  end
  return 1
end

local answers = {}
for i = 2, #ARGV, 4 do
  answers[#answers + 1] = land(unpack(ARGV, i, i + 3))
end
return answers
