-- How a target stands, as the list that `workers.jobs.gate.wire` reads.

-- A share that was `value` at the instant `at`, drawn back to `rest` as time goes by without news.
local SHARE_MS = 60000
local function relaxed(value, at, rest)
  if not value then return rest end
  return rest + (value - rest) * math.exp(-math.max(0, now - at) / SHARE_MS)
end

-- A slow answer is forgiven with time: nobody asks the slowest of several, and so nobody would see that it has mended.
local USUAL_MS, FORGIVEN_MS = 1000, 300000
local function latency(f)
  if not f.latency or f.latency <= USUAL_MS then return f.latency end
  return USUAL_MS + (f.latency - USUAL_MS) * math.exp(-math.max(0, now - (f.latency_at or now)) / FORGIVEN_MS)
end

-- An instant; nil where it lies ahead: Redis's clock was set back, and it says nothing any more.
local function past(instant)
  return instant and instant <= now and instant or nil
end

-- For how long nobody may call, because of a 429.
local function throttled_ms(f)
  return past(f.throttled_at) and math.max(0, (f.throttled_until or 0) - now) or 0
end

local function ago(instant)
  return instant and math.max(0, now - instant) or cjson.null
end

local function shown(provider, model, t, a, in_flight)
  local f, calls, failures = t.f, counted(t)
  local shut, next_probe = (f.state and t) or (a.f.state and a), cjson.null
  if shut then
    local _, mine = knock(t)
    local _, account = knock(a)
    next_probe = math.max(mine, account)
  end
  return {
    provider, model, f.state or 'closed', a.f.state or 'closed', shut and shut.f.reason or '',
    shut and ago(shut.f.opened) or cjson.null, next_probe, throttled_ms(f),
    relaxed(f.success, f.success_at, 1), relaxed(f.throttle, f.throttle_at, 0), latency(f) or cjson.null,
    calls, failures, in_flight, f.limit or cjson.null, f.requests_limit or cjson.null, f.tokens_limit or cjson.null,
    f.error or cjson.null, ago(f.error_at), ago(f.heard)
  }
end
