-- Book open attempts of an owner as lost. Answers how many of them were open.
--
-- attempts:{owner}, inflight:…, breaker:…, job:{id}, cost:{day}   see include/lost
--
-- ARGV: prefix, ttl_ms, owner, attempts
-- include: common
-- include: ledger
-- include: lost
free_first()
local owner, lost = ARGV[3], 0
for i = 4, #ARGV do
  local record = redis.call('HGET', key('attempts', owner), ARGV[i])
  if record then
    redis.call('HDEL', key('attempts', owner), ARGV[i])
    lose(owner, ARGV[i], cjson.decode(record))
    lost = lost + 1
  end
end
write_books()
return lost
