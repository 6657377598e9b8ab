-- The last `rules.window_ms` in ten slots: field `window` of a target's hash, 'slot:calls:failures' with spaces between.
local SLOTS = 10

local function slot_now()
  return math.floor(now * SLOTS / rules.window_ms)
end

-- Calls and failures in the window; with `add`, one more of (calls, failures) is noted first.
local function counted(t, add)
  local current, calls, failures = slot_now(), 0, 0
  local own_calls, own_failures, kept = add and add[1] or 0, add and add[2] or 0, {}
  for slot, c, x in string.gmatch(t.f.window or '', '(%d+):(%d+):(%d+)') do
    slot, c, x = tonumber(slot), tonumber(c), tonumber(x)
    if slot == current then
      own_calls, own_failures = own_calls + c, own_failures + x
    elseif slot > current - SLOTS and slot < current then
      calls, failures = calls + c, failures + x
      kept[#kept + 1] = slot .. ':' .. c .. ':' .. x
    end
  end
  if add then
    kept[#kept + 1] = string.format('%d', current) .. ':' .. own_calls .. ':' .. own_failures
    t.f.window, t.changed = table.concat(kept, ' '), true
  end
  return calls + own_calls, failures + own_failures
end
