-- Write an event for a tenant's endpoint; the event's id is the nonce. Answers 'ok', 'disabled' or 'none': no such endpoint.
--
-- delivery:{id}, outbox:…   see include/outbox
--
-- ARGV: prefix, 0, event id, endpoint, tenant, type, what it is about
-- include: common
-- include: outbox
local id, endpoint, tenant, kind, about = unpack(ARGV, 3, 7)
local held = redis.call('HMGET', key('webhook', endpoint), 'tenant', 'enabled')
if held[1] ~= tenant then return 'none' end
if redis.call('EXISTS', key('delivery', id)) == 1 then return 'ok' end -- sent again
if held[2] ~= '1' then return 'disabled' end
emit(id, endpoint, kind, about)
return 'ok'
