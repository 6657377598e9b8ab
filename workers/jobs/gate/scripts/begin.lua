-- Decide on calls about to be made; those let through are open attempts from here on. The same attempt again gets the same
-- answer. Answers JSON: {states of the targets, {{refusal or null, wait ms, probing, epoch of the account, of the target,
-- index of its state}, …}, and where breakers changed: {{provider, model or '' for the account, before, after, reason}, …}}.
--
-- attempts:{owner}              hash  attempt -> JSON {p, m, tenant, at, ea, et, permit, probe, job, upper, tokens, rpm, tpm};
--                                     no expiry: it empties with its calls, or is emptied by rescue
-- workers                       zset  the owner enters, so that rescue knows of it
-- breaker:{p}, breaker:{p}:{m}  hash  see include/breaker, limits; expires 1 h after its last change
-- inflight:{p}, inflight:{p}:{m}  hash  owner -> calls in flight; no expiry: as attempts
-- targets                       zset  [provider, model, p, m] as JSON -> last use; the last 1,000; expires after 1 h
-- job:{id}                      hash  read: its fence
--
-- ARGV: prefix, ttl_ms, owner, rules as JSON, calls as JSON
-- include: common
local rules, items = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
-- include: hashes
-- include: breaker
-- include: window
-- include: shown
-- include: limits
local MOST_TARGETS, LISTED_EACH_MS = 1000, 10000
local owner = ARGV[3]
local attempts = key('attempts', owner)
local states, places, opened = {}, {}, {}
free_first()

local function stale(item)
  if not item.job then return false end
  local job = redis.call('HMGET', key('job', item.job), 'state', 'fence')
  return job[1] ~= 'in_progress' or job[2] ~= item.fence
end

-- How long a call waits until one in flight has ended, as far as that can be guessed.
local function turn_ms(t, in_flight)
  if not t.f.latency or in_flight == 0 then return 0 end
  return math.max(10, math.min(1000, t.f.latency / in_flight))
end

local function rate_wait(item, a, t)
  local wait = math.max(lacking(t, 'requests', 1), lacking(t, 'tokens', item.tokens))
  if item.rpm then wait = math.max(wait, request_due_in(a, item.rpm)) end
  if item.tpm then
    local _, tolerance = of_tokens(item.tpm)
    wait = math.max(wait, due_in(a, 'tokens_tat', tolerance))
  end
  return wait
end

local function refusal(item, a, t)
  if stale(item) then return 'stale', 0 end
  local account, account_wait = knock(a)
  local target, target_wait = knock(t)
  if account == 'refuse' or target == 'refuse' then return 'breaker_open', math.max(account_wait, target_wait) end
  local probing = account == 'permit' or target == 'permit'
  local throttled = throttled_ms(t.f)
  if throttled > 0 then return 'throttled', throttled end
  local all, mine = flying(owner, item.p).total, flying(owner, item.p, item.m).total
  local learnt = t.f.limit and not probing and mine >= math.floor(t.f.limit)
  if learnt or (item.most and all >= item.most) then return 'concurrency', turn_ms(t, mine) end
  local wait = rate_wait(item, a, t)
  if wait > 0 then return 'rate_limit', wait end
  return nil, 0, account == 'permit', target == 'permit'
end

local function count(item, a, t)
  if item.rpm then take_request(a, item.rpm) end
  if item.tpm then take(a, 'tokens_tat', (of_tokens(item.tpm)) * item.tokens) end
  draw(t, 'requests', 1)
  draw(t, 'tokens', item.tokens)
  local mine = flying(owner, item.p, item.m)
  add(mine, 1)
  add(flying(owner, item.p), 1)
  if mine.total > (t.f.most or 0) then t.f.most = mine.total end
  t.changed = true
end

local function admit(item, a, t, account_permit, target_permit)
  if account_permit then grant(a, item.attempt, item.timeout) end
  if target_permit then grant(t, item.attempt, item.timeout) end
  count(item, a, t)
  local record = {
    p = item.p, m = item.m, provider = item.provider, model = item.model, tenant = item.tenant, at = now,
    ea = a.f.epoch or 0, et = t.f.epoch or 0, breaker = t.f.state or a.f.state or 'closed',
    permit = (account_permit or target_permit) and 1 or nil, probe = item.probe, job = item.job, fence = item.fence,
    upper = item.upper, tokens = item.tokens, rpm = item.rpm, tpm = item.tpm
  }
  opened[#opened + 1] = item.attempt
  opened[#opened + 1] = cjson.encode(record)
  return record
end

-- Note a target's use, for `states`; every few seconds are enough (field `listed` of its hash).
local function list(item, t)
  if t.f.listed and now >= t.f.listed and now - t.f.listed < LISTED_EACH_MS then return end
  t.f.listed, t.changed = now, true
  redis.call('ZADD', key('targets'), now, cjson.encode({item.provider, item.model, item.p, item.m}))
  redis.call('ZREMRANGEBYRANK', key('targets'), 0, -MOST_TARGETS - 1)
  redis.call('PEXPIRE', key('targets'), KEPT_MS)
end

-- The place of a target's state in the answer; it is made when all calls are decided.
local function place(item, a, t)
  if not places[t.name] then
    list(item, t)
    states[#states + 1] = {item, t, a}
    places[t.name] = #states
  end
  return places[t.name] - 1
end

local ids, answers, seen, names = {}, {}, {}, {}
for i, item in ipairs(items) do ids[i] = item.attempt end
local before = redis.call('HMGET', attempts, unpack(ids))
for i, item in ipairs(items) do
  local a, t = hash('breaker', item.p), hash('breaker', item.p, item.m)
  names[a.name], names[t.name] = {item.provider, ''}, {item.provider, item.model}
  local record, why, wait, account_permit, target_permit = seen[item.attempt], nil, 0, nil, nil
  if before[i] then record = cjson.decode(before[i]) end -- sent again: the first answer was late
  if not record then
    why, wait, account_permit, target_permit = refusal(item, a, t)
    if not why then record = admit(item, a, t, account_permit, target_permit) end
    seen[item.attempt] = record
  end
  local from = record or {ea = a.f.epoch or 0, et = t.f.epoch or 0}
  answers[i] = {why or cjson.null, math.ceil(wait), from.permit or 0, from.ea, from.et, place(item, a, t)}
end

if #opened > 0 then
  redis.call('HSET', attempts, unpack(opened))
  redis.call('ZADD', key('workers'), 'NX', now, owner)
end
write_hashes()
write_flights(owner)
for i, one in ipairs(states) do
  local item, t, a = unpack(one)
  states[i] = shown(item.provider, item.model, t, a, flying(owner, item.p, item.m).total)
end
return cjson.encode({states, answers, told_moves(names)})
