-- Book what answers without a call have saved; the same group again books nothing.
--
-- credited:{nonce}  string  a group that was booked; expires after 10 min
-- cost:{day}        hash    see include/ledger
--
-- ARGV: prefix, ttl_ms, nonce of the group, credits as JSON
-- include: common
-- include: ledger
free_first()
if not redis.call('SET', key('credited', ARGV[3]), 1, 'NX', 'PX', 600000) then return 0 end
for _, item in ipairs(cjson.decode(ARGV[4])) do
  book(item.tenant, item.p, item.m, item.what, 1)
  if item.saved then book(item.tenant, item.p, item.m, 'saved_usd', item.saved) end
end
write_books()
return 1
