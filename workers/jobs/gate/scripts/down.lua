-- Open the breaker of an account that a check found down; one that is not closed stays as it is. Answers 1 when it opened.
--
-- breaker:{p}  hash  see include/breaker
--
-- ARGV: prefix, ttl_ms, rules as JSON, p, reason
-- include: common
local rules = cjson.decode(ARGV[3])
-- include: hashes
-- include: breaker
free_first()
local account = hash('breaker', ARGV[4])
if account.f.state then return 0 end
open(account, ARGV[5], next_pause(account, false))
write_hashes()
return 1
