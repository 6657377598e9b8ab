-- Take the right to make a thing under an idempotency key; the holder is the nonce.
-- Answers {'begun'} | {'done', value} | {'running', ms left of the lease} | {'mismatch'}.
--
-- once:{tenant}:{scope}:{digest}   hash   body, holder, value once it is made; expires with the lease until then
--
-- ARGV: prefix, ttl_ms, tenant, scope, digest, body digest, holder, lease_ms
-- include: common
local name = key('once', ARGV[3], ARGV[4], ARGV[5])
local body, holder, lease_ms = unpack(ARGV, 6, 8)
local held = redis.call('HMGET', name, 'body', 'holder', 'value')

if held[1] then
  if held[1] ~= body then return {'mismatch'} end
  if held[3] then return {'done', held[3]} end
  if held[2] ~= holder then return {'running', redis.call('PTTL', name)} end -- else sent again: the first answer was late
end
redis.call('HSET', name, 'body', body, 'holder', holder)
redis.call('PEXPIRE', name, lease_ms)
return {'begun'}
