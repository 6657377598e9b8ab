-- delivery:{id}   hash  tries: a JSON list of attempts, the last 30

local MOST_TRIES = 30

local function add_try(id, try)
  local held = redis.call('HGET', key('delivery', id), 'tries')
  local tries = held and cjson.decode(held) or {}
  table.insert(tries, try)
  if #tries > MOST_TRIES then table.remove(tries, 1) end
  redis.call('HSET', key('delivery', id), 'tries', cjson.encode(tries))
end
