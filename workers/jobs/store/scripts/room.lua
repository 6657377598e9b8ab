-- Whether a job of a tenant could be written now: asked before its body is read, while submits are being refused.
-- Answers {1 when its idempotency key has made one, why not as high, as normal, as low ('': it could), figures …}.
--
-- idem:{tenant}:{digest}      string  looked for
-- what the room is judged by          see include/line
--
-- ARGV: prefix, ttl_ms, tenant, idempotency digest or '', then the limits as submit.lua has them
-- include: common
-- include: line
local tenant, digest = ARGV[3], ARGV[4]
local known = digest ~= '' and redis.call('EXISTS', key('idem', tenant, digest)) or 0
local answer = {known}
for _, class in ipairs({'high', 'normal', 'low'}) do
  answer[#answer + 1] = refusal(tenant, class, limits_at(5), 0)
end
for _, figure in ipairs(figures(tenant)) do answer[#answer + 1] = figure end
return answer
