-- What processes do with flights, many in one go. Answers one {word, value} for each.
--
-- flight:{version}:{tenant}:{sha256}   hash, expires
--     leader      nonce of the process that makes the call, or made it
--     w:{owner}   1: a process with somebody who waits
--     landed      the answer, packed; see land.lua
-- flights:{owner} channel: the names of flights that a process waits for and should look at again
--
-- ARGV: prefix, owner, then of each: what, name, nonce, ms
local prefix, owner = ARGV[1], ARGV[2]
redis.call('DEL', prefix .. ':none') -- a full Redis lets the script pass, as jobs/store/scripts/include/common.lua tells

local does = {}

local function held_by(flight, nonce)
  local held = redis.call('HMGET', flight, 'leader', 'landed')
  return held[1] == nonce and not held[2]
end

-- Lead, get what has landed, or wait: told when it lands, or gone by itself in so many ms.
function does.acquire(flight, nonce, ms)
  local held = redis.call('HMGET', flight, 'leader', 'landed')
  if held[2] then return {'landed', held[2]} end
  if held[1] and held[1] ~= nonce then
    redis.call('HSET', flight, 'w:' .. owner, 1)
    return {'busy', redis.call('PTTL', flight)}
  end
  redis.call('HSET', flight, 'leader', nonce)
  redis.call('PEXPIRE', flight, ms)
  return {'lead', 0}
end

function does.renew(flight, nonce, ms)
  if not held_by(flight, nonce) then return {'lost', 0} end
  redis.call('PEXPIRE', flight, ms)
  return {'held', 0}
end

-- Wait no longer.
function does.leave(flight)
  redis.call('HDEL', flight, 'w:' .. owner)
  return {'left', 0}
end

-- Give the flight up unless another process waits for it.
function does.release(flight, nonce)
  if not held_by(flight, nonce) then return {'lost', 0} end
  if redis.call('HLEN', flight) > 1 then return {'held', 0} end
  redis.call('DEL', flight)
  return {'released', 0}
end

-- Give the flight up, and tell those who wait: the first of them leads.
function does.abandon(flight, nonce, _, name)
  if not held_by(flight, nonce) then return {'lost', 0} end
  local fields = redis.call('HKEYS', flight)
  redis.call('DEL', flight)
  for _, field in ipairs(fields) do
    if string.sub(field, 1, 2) == 'w:' then redis.call('PUBLISH', prefix .. ':flights:' .. string.sub(field, 3), name) end
  end
  return {'released', 0}
end

local answers = {}
for i = 3, #ARGV, 4 do
  local what, name, nonce, ms = unpack(ARGV, i, i + 3)
  answers[#answers + 1] = does[what](prefix .. ':flight:' .. name, nonce, ms, name)
end
return answers
