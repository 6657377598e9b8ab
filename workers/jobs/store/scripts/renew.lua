-- A worker's heartbeat. Answers its claims: nonce, id, nonce, id, …
--
-- workers              zset  owner -> the instant of its last heartbeat; no expiry: rescue and retire take it out
-- owner:{owner}:jobs   hash  read
--
-- ARGV: prefix, ttl_ms, owner
-- include: common
free_first()
redis.call('ZADD', key('workers'), now, ARGV[3])
return redis.call('HGETALL', key('owner', ARGV[3], 'jobs'))
