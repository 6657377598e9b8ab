-- A circuit breaker, of an account or of a target: fields of its hash `b.f` (see hashes). No state: closed.
--   state          open, half_open
--   epoch          grows with each permit: an end of another epoch changes nothing
--   opened         instant at which it left closed
--   pause, next    open: how long it was shut for (ms), and the instant from which one call may try again
--   permit, permit_until   half_open: the attempt that tries, and until when it is waited for
--   reason         class of the failure that opened it
local PERMIT_GRACE_MS = 5000

-- What this run changed, in order: {name of the hash, before, after, reason}. Whoever's run changed it tells the fleet.
local moves = {}
local function moved(b, before, reason)
  before = before or 'closed'
  local after = b.f.state or 'closed'
  if after ~= before then moves[#moves + 1] = {b.name, before, after, reason or ''} end
end

-- The moves with the provider and model of `names[name of the hash]`; nil where there are none.
local function told_moves(names)
  if #moves == 0 then return nil end
  local told = {}
  for i, move in ipairs(moves) do
    local whose = names[move[1]]
    told[i] = {whose[1], whose[2], move[2], move[3], move[4]}
  end
  return told
end

-- What a call meets now: 'pass', 'permit' (it would be the one that tries), or 'refuse' with the ms until one may try.
local function knock(b)
  local f = b.f
  if not f.state then return 'pass', 0 end
  local half = f.state == 'half_open'
  local wait = (half and f.permit_until or f.next or 0) - now
  if wait <= 0 or now < (f.opened or 0) then return 'permit', 0 end -- or Redis's clock was set back
  return 'refuse', half and math.min(wait, rules.probe_ms) or wait
end

local function grant(b, attempt, timeout_ms)
  local f, before = b.f, b.f.state
  f.state, f.epoch, f.opened = 'half_open', (f.epoch or 0) + 1, math.min(f.opened or now, now)
  f.permit, f.permit_until = attempt, now + timeout_ms + PERMIT_GRACE_MS
  b.changed = true
  moved(b, before, f.reason)
end

local function open(b, reason, pause_ms)
  local f, before = b.f, b.f.state
  f.opened = f.state and f.opened or now
  f.state, f.reason, f.pause, f.next = 'open', reason, pause_ms, now + pause_ms * rules.jitter
  f.permit, f.permit_until, f.row, f.window = nil, nil, nil, nil
  b.changed = true
  moved(b, before, reason)
end

-- The pause before the next try: it doubles where the fault is one of the account or of its right to a model.
local function next_pause(b, doubles)
  local pause_ms = b.f.pause or 0
  if doubles then pause_ms = 2 * pause_ms end
  return math.max(rules.probe_ms, math.min(pause_ms, rules.max_pause_ms))
end

-- The one that tried brought no answer to the question: the next may try from `at` on.
local function hand_back(b, at)
  local f, before = b.f, b.f.state
  f.state, f.next = 'open', math.max(now, at or now)
  f.permit, f.permit_until = nil, nil
  b.changed = true
  moved(b, before, f.reason)
end

local function close(b)
  local f, before, reason = b.f, b.f.state, b.f.reason
  f.state, f.reason, f.opened, f.pause, f.next, f.permit, f.permit_until = nil, nil, nil, nil, nil, nil, nil
  f.row, f.window = nil, nil
  b.changed = true
  moved(b, before, reason)
end
