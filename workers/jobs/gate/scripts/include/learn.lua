-- What a target and an account learn from the end of a call: breakers, 429s, concurrency, and smoothed figures.
-- Fields of a target's hash beside those of include/breaker, window, limits:
--   row                            failures one after the other
--   success, success_at            share of good answers, smoothed; drawn back to 1 with time
--   throttle, throttle_at          share of 429s, smoothed; drawn back to 0 with time
--   latency, latency_at            of good answers: up at once, down slowly (ms)
--   heard, error, error_at         last good answer; class of the last failure
--   throttled_until, throttled_at, throttle_row    nobody calls until then; 429s without Retry-After in a row
--   limit, limited_at, most        learnt concurrency (AIMD), its last cut, most calls ever in flight
local WEIGHT = 0.1
local LATENCY_MS = 10000
local FIRST_THROTTLE_MS, LAST_THROTTLE_MS = 1000, 60000
local CUT_EACH_MS = 1000
local CUTS = {throttled = 0.5, provider_timeout = 0.7}

local function smooth(t, share, rest, value)
  local f = t.f
  local before = relaxed(f[share], f[share .. '_at'], rest)
  f[share], f[share .. '_at'], t.changed = before + WEIGHT * (value - before), now, true
end

local function note_error(t, outcome)
  t.f.error, t.f.error_at, t.changed = outcome, now, true
end

local function note_latency(f, ms)
  local age = math.max(0, now - (f.latency_at or now))
  if f.latency and ms < f.latency then
    local keep = math.exp(-age / LATENCY_MS)
    ms = f.latency * keep + ms * (1 - keep)
  end
  f.latency, f.latency_at = ms, now
end

local function grow(f)
  if not f.limit then return end
  f.limit = f.limit + 1 / f.limit
  if f.limit > 2 * (f.most or 1) then f.limit = nil end
end

-- Once for a wave: calls begun before the last cut say nothing new.
local function cut(t, factor, in_flight, began)
  local f = t.f
  local last = past(f.limited_at)
  if last and (began < last or now - last < CUT_EACH_MS) then return end
  f.limit = math.max(1, math.min(f.limit or math.huge, factor * in_flight))
  f.limited_at, t.changed = now, true
end

local function slow_down(t, item, began, in_flight)
  local f, wait = t.f, item.retry_after
  if not wait or wait <= 0 then
    local last = past(f.throttled_at)
    if last and began <= last then return end -- of the wave that was told already
    wait = math.min(LAST_THROTTLE_MS, FIRST_THROTTLE_MS * 2 ^ (f.throttle_row or 0))
    f.throttle_row = math.min(10, (f.throttle_row or 0) + 1)
  end
  f.throttled_until = now + math.max(throttled_ms(f), math.min(wait, LONGEST_MS))
  f.throttled_at, t.changed = now, true
  cut(t, CUTS.throttled, in_flight, began)
end

local function answered_well(t, item)
  local f = t.f
  f.row, f.throttle_row, f.heard = nil, nil, now
  smooth(t, 'success', 1, 1)
  smooth(t, 'throttle', 0, 0)
  note_latency(f, item.latency)
  grow(f)
end

local function failed(t, item)
  local f = t.f
  f.row = (f.row or 0) + 1
  smooth(t, 'success', 1, 0)
  local calls, failures = counted(t, {1, 1})
  if f.row >= rules.failures or (calls >= rules.min_calls and failures >= rules.ratio * calls) then
    open(t, item.outcome, next_pause(t, false))
  end
end

local COUNTED = {failed = true, bad = true}

local function of_closed_target(t, item, began, in_flight)
  local verdict = item.verdict
  if verdict == 'good' then
    counted(t, {1, 0})
    answered_well(t, item)
  elseif COUNTED[verdict] then
    if CUTS[item.outcome] then cut(t, CUTS[item.outcome], in_flight, began) end
    failed(t, item)
  elseif verdict == 'throttled' then
    smooth(t, 'throttle', 0, 1)
  elseif verdict == 'model' then
    open(t, item.outcome, next_pause(t, false))
  end
end

-- The end of the one call that tried. `worst`: the verdict that opens this breaker at once.
local function of_permit(b, item, worst, closed)
  local verdict = item.verdict
  if verdict == 'good' then
    close(b)
    closed(b)
  elseif verdict == worst then
    open(b, item.outcome, next_pause(b, true))
  elseif COUNTED[verdict] then
    open(b, item.outcome, next_pause(b, false))
  else
    hand_back(b, verdict == 'throttled' and item.throttled_until or now)
  end
end

local function fresh_target(item)
  return function(t)
    local f = t.f
    f.success, f.success_at, f.throttle, f.throttle_at = nil, nil, nil, nil
    if f.limit then f.limit = math.max(f.limit, (f.most or 1) / 2) end
    counted(t, {1, 0})
    answered_well(t, item)
  end
end

local function learn_target(t, item, record, in_flight)
  local f = t.f
  if item.verdict == 'throttled' then slow_down(t, item, record.at, in_flight) end
  if item.rates then
    local r = item.rates
    told(t, 'requests', r.requests_limit, r.requests_left, r.requests_reset_ms)
    told(t, 'tokens', r.tokens_limit, r.tokens_left, r.tokens_reset_ms)
  end
  item.throttled_until = f.throttled_until
  if record.et ~= (f.epoch or 0) then return end
  local verdict = item.verdict
  if COUNTED[verdict] or verdict == 'throttled' or verdict == 'model' or verdict == 'account' then
    note_error(t, item.outcome)
  end
  if not f.state then
    of_closed_target(t, item, record.at, in_flight)
  elseif f.state == 'half_open' and f.permit == item.attempt then
    of_permit(t, item, 'model', fresh_target(item))
  end
end

local function learn_account(a, item, record)
  if record.ea ~= (a.f.epoch or 0) then return end
  if not a.f.state then
    if item.verdict == 'account' then open(a, item.outcome, next_pause(a, false)) end
  elseif a.f.state == 'half_open' and a.f.permit == item.attempt then
    of_permit(a, item, 'account', function() end)
  end
end
