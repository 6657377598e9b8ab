-- Book calls that ended, once each, and learn from them. An attempt that is not open (sent again, or booked as lost) changes
-- nothing; one that began while Redis was away (`item.apart`) was never open here and is booked once by a mark of its own.
-- Answers JSON: {states of the targets, {index of its state of each}, where breakers changed: as begin.lua, ids of the jobs that
-- waited for a slot and are in line now, to be rung for}.
--
-- attempts:{owner}                hash    the attempt leaves; a silent one (`item.silent`) stays, marked
-- breaker:{p}, breaker:{p}:{m}    hash    see include/learn
-- inflight:{p}, inflight:{p}:{m}  hash    owner -> calls in flight
-- cost:{day}                      hash    see include/ledger
-- job:{id}                        hash    attempts: a call that was stopped, where its worker does not tell of it
-- booked:{attempt}                string  a call made while Redis was away is booked; expires after a day
--
-- ARGV: prefix, ttl_ms, owner, rules as JSON, ends as JSON
-- include: common
local rules, items = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
-- include: hashes
-- include: breaker
-- include: window
-- include: shown
-- include: limits
-- include: learn
-- include: ledger
-- include: tried
-- include: slots
local BOOKED_MS = 86400000
local owner = ARGV[3]
local attempts = key('attempts', owner)
free_first()

local function enter(item)
  if item.outcome == 'not_called' then return end
  local function add_up(what, amount) book(item.probe and '(probe)' or item.tenant, item.p, item.m, what, amount) end
  add_up('calls', 1)
  if item.outcome ~= 'ok' then add_up('failed', 1) end
  if item.cost then
    add_up('cost_usd', item.cost)
  elseif item.outcome == 'ok' or item.prompt then
    add_up('unpriced', 1)
  else
    add_up('maybe_billed', 1)
    if item.upper then add_up('maybe_upper_usd', item.upper) else add_up('maybe_unbounded', 1) end
  end
  if item.prompt then add_up('prompt_tokens', item.prompt) end
  if item.completion then add_up('completion_tokens', item.completion) end
end

-- The account's allowance: what the call was thought to take is put right by what it took.
local function settle(item, record, a)
  local unused = item.outcome == 'not_called'
  if record.rpm and unused then untake_request(a, record.rpm) end
  if not record.tpm then return end
  local took = (item.prompt or 0) + (item.completion or 0)
  if took == 0 and not unused and item.verdict ~= 'throttled' then return end
  correct(a, 'tokens_tat', (of_tokens(record.tpm)) * (record.tokens - took))
end

-- A call that we stopped was for a job that ended without its worker, or is handed back: nobody else shows it there. What a
-- worker writes under its fence holds the worker's own account of it; that is left, or takes this one's place.
local function show_stopped(item, record)
  local job = record.job and read_job(record.job)
  if not job or job.dnonce or (job.state == 'in_progress' and job.fence ~= record.fence) then return end
  add_attempt(job, record, job.state == 'cancelled' and 'cancelled' or 'stopped', item.cost)
end

-- Slots that became free, by place; a job that waits there gets each.
local freed, let_ids = {}, {}
local function free_slot(place)
  freed[place] = (freed[place] or 0) + 1
end

local ids, closed, kept, open, marks = {}, {}, {}, {}, {}
for i, item in ipairs(items) do ids[i] = item.attempt end
local found = redis.call('HMGET', attempts, unpack(ids))
for i, text in ipairs(found) do
  if text and not open[ids[i]] then open[ids[i]] = cjson.decode(text) end
end

local function finish_attempt(item, record, a)
  open[item.attempt], kept[item.attempt] = nil, nil
  closed[#closed + 1] = item.attempt
  enter(item)
  settle(item, record, a)
  if item.outcome == 'stopped' then show_stopped(item, record) end
  if record.silent and COUNTED[item.verdict] then item.verdict = 'stopped' end -- counted when it fell silent
end

local function end_one(item, a, t)
  local record = open[item.attempt]
  local mark = key('booked', item.attempt)
  local first = item.apart and not item.silent and not marks[mark] and redis.call('EXISTS', mark) == 0
  if first then marks[mark] = true end
  if not record then
    if first then enter(item) end
    return
  end
  if item.silent then
    if record.silent then return end
    record.silent, kept[item.attempt] = 1, record
  else
    finish_attempt(item, record, a)
  end
  local mine = flying(owner, item.p, item.m)
  learn_target(t, item, record, mine.total)
  learn_account(a, item, record)
  if not item.silent then
    add(mine, -1)
    add(flying(owner, item.p), -1)
    free_slot(item.p)
    free_slot(item.p .. '|' .. item.m)
  end
end

local states, places, answers, names = {}, {}, {}, {}
for i, item in ipairs(items) do
  local a, t = hash('breaker', item.p), hash('breaker', item.p, item.m)
  names[a.name], names[t.name] = {item.provider, ''}, {item.provider, item.model}
  end_one(item, a, t)
  if not places[t.name] then
    states[#states + 1] = {item, t, a}
    places[t.name] = #states
  end
  answers[i] = places[t.name] - 1
end

for mark in pairs(marks) do redis.call('SET', mark, 1, 'PX', BOOKED_MS) end
if #closed > 0 then redis.call('HDEL', attempts, unpack(closed)) end
for attempt, record in pairs(kept) do redis.call('HSET', attempts, attempt, cjson.encode(record)) end
write_hashes()
write_flights(owner)
write_books()
for place, count in pairs(freed) do let_in(place, count, let_ids) end
for i, one in ipairs(states) do
  local item, t, a = unpack(one)
  states[i] = shown(item.provider, item.model, t, a, flying(owner, item.p, item.m).total)
end
return cjson.encode({states, answers, told_moves(names), let_ids})
