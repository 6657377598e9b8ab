-- outbox   zset  endpoint -> the instant of upkeep's next look at it

-- Look at an endpoint when its next delivery is due; at none that is disabled, gone, or has nothing.
local function look_when_due(endpoint)
  local next_due = redis.call('ZRANGE', key('outbox', endpoint), 0, 0, 'WITHSCORES')[2]
  if next_due and redis.call('HGET', key('webhook', endpoint), 'enabled') == '1' then
    redis.call('ZADD', key('outbox'), next_due, endpoint)
  else
    redis.call('ZREM', key('outbox'), endpoint)
  end
end
