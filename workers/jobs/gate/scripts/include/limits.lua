-- Limits of an account that the configuration sets (GCRA: requests_tat, tokens_tat are theoretical arrival times;
-- requests_log: instants of the last calls, where the limit is so small that all of a minute may come at once), and those
-- of a target that answers told of: {what}_limit, {what}_left at the instant {what}_at, growing by {what}_refill a ms, known
-- until {what}_until; what: requests, tokens.
local LONGEST_MS = 3600000
local BURST = 20 -- so many requests may come at once, where that is a minute's worth; of more a twentieth
local MINUTE_MS = 60000

-- A step and a tolerance under which no window of a minute sees more requests than the limit.
local function of_requests(per_minute)
  local burst = math.max(1, math.floor(per_minute / BURST))
  local step = 60000 / (per_minute - burst + 1)
  return step, (burst - 1) * step
end

-- As above for tokens, of which a single call may take more than a burst: it goes through, and the next ones wait for it.
local function of_tokens(per_minute)
  local burst = math.max(1, math.floor(per_minute / BURST))
  local step = 60000 / math.max(1, per_minute - burst)
  return step, burst * step
end

local function arrival(a, field)
  local tat = a.f[field]
  if not tat or tat < now or tat > now + LONGEST_MS then return now end
  return tat
end

local function due_in(a, field, tolerance)
  return arrival(a, field) - now - tolerance
end

-- Nobody waits longer than LONGEST_MS: further ahead lies only what a clock that was set back has left.
local function take(a, field, cost)
  a.f[field], a.changed = math.min(arrival(a, field) + cost, now + LONGEST_MS), true
end

-- Give back (or take more, below 0) what an estimate was wrong by.
local function correct(a, field, cost)
  if a.f[field] then
    a.f[field], a.changed = math.min(a.f[field] - cost, now + LONGEST_MS), true
  end
end

local function of_last_minute(a)
  local kept = {}
  for at in string.gmatch(a.f.requests_log or '', '%d+') do
    at = tonumber(at)
    if at <= now and now - at < MINUTE_MS then kept[#kept + 1] = at end
  end
  return kept
end

-- How long until one more request is within the limit.
local function request_due_in(a, per_minute)
  if per_minute > BURST then
    local _, tolerance = of_requests(per_minute)
    return due_in(a, 'requests_tat', tolerance)
  end
  local last = of_last_minute(a)
  return #last < per_minute and 0 or last[#last - per_minute + 1] + MINUTE_MS - now
end

local function log_requests(a, last)
  for i, at in ipairs(last) do last[i] = string.format('%.0f', at) end
  a.f.requests_log, a.changed = #last > 0 and table.concat(last, ',') or nil, true
end

local function take_request(a, per_minute)
  if per_minute > BURST then return take(a, 'requests_tat', (of_requests(per_minute))) end
  local last = of_last_minute(a)
  last[#last + 1] = now
  log_requests(a, last)
end

-- Give back a request that was not made.
local function untake_request(a, per_minute)
  if per_minute > BURST then return correct(a, 'requests_tat', (of_requests(per_minute))) end
  local last = of_last_minute(a)
  last[#last] = nil
  log_requests(a, last)
end

-- What is left of a limit that an answer told of; nil when nothing is known any more.
local function left(t, what)
  local f = t.f
  if not f[what .. '_until'] or now >= f[what .. '_until'] or now < f[what .. '_at'] then return nil end
  return math.min(f[what .. '_limit'], f[what .. '_left'] + (now - f[what .. '_at']) * f[what .. '_refill'])
end

local function lacking(t, what, need)
  local there = left(t, what)
  if not there then return 0 end
  local wanted = math.min(need, t.f[what .. '_limit'])
  if there >= wanted then return 0 end
  return math.max(1, math.min(t.f[what .. '_until'] - now, (wanted - there) / t.f[what .. '_refill']))
end

local function draw(t, what, need)
  local there = left(t, what)
  if there then
    t.f[what .. '_left'], t.f[what .. '_at'], t.changed = there - need, now, true
  end
end

local function told(t, what, limit, there, reset_ms)
  if not limit or limit <= 0 or not there then return end
  local f = t.f
  reset_ms = math.max(1000, math.min(reset_ms or 60000, LONGEST_MS))
  f[what .. '_limit'], f[what .. '_left'], f[what .. '_at'] = limit, math.min(there, limit), now
  f[what .. '_refill'] = (there < limit and limit - there or limit) / reset_ms
  f[what .. '_until'], t.changed = now + reset_ms, true
end
