-- Show a call in its job, behind those that are there; `cost` in USD, nil when unknown.
--
-- job:{id}  hash  attempts: one more
local function add_attempt(job, record, outcome, cost)
  local text = string.format('{"provider":%s,"model":%s,"outcome":"%s","status":null,"latency_ms":%d,"cost_usd":%s,'
    .. '"breaker":%s,"score":null}', cjson.encode(record.provider), cjson.encode(record.model), outcome,
    math.max(0, now - record.at), cost and string.format('%.12g', cost) or 'null', cjson.encode(record.breaker))
  local before = redis.call('HGET', key('job', job.id), 'attempts')
  redis.call('HSET', key('job', job.id), 'attempts',
             before and #before > 2 and string.sub(before, 1, -2) .. ',' .. text .. ']' or '[' .. text .. ']')
end
