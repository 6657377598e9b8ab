-- cost:{day}  hash  tenant|provider|model|what -> amount, of a day by UTC; expires 90 days after its last change. What:
--             the amounts of CostRow, see workers/jobs/gate/costs.py.
-- Parts of a name are escaped by the caller. A full day books further models together, as (other); so does a provider that
-- had MOST_MODELS of them that day, since names may come from callers: |provider|model|seen marks one, |provider||models counts.
local BOOKS_KEPT_MS, MOST_AMOUNTS = 90 * 86400000, 100000
local MOST_MODELS = 200
local IN_USD = {cost_usd = true, lost_upper_usd = true, maybe_upper_usd = true, saved_usd = true}
local books = {}

-- The date by UTC: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
local function today()
  local days = math.floor(now / 86400000) + 719468
  local era = math.floor(days / 146097)
  local of_era = days - era * 146097
  local year = math.floor(
    (of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return string.format('%04d-%02d-%02d', year + era * 400 + (month <= 2 and 1 or 0), month, day)
end

local function book(tenant, provider, model, what, amount)
  local whose = tenant .. '|' .. provider .. '|' .. model
  books[whose] = books[whose] or {tenant = tenant, provider = provider, model = model, amounts = {}}
  local amounts = books[whose].amounts
  amounts[what] = (amounts[what] or 0) + amount
end

-- Whether a model has a row of its own today; it gets one while there is room.
local function has_row(name, one)
  local seen, count = '|' .. one.provider .. '|' .. one.model .. '|seen', '|' .. one.provider .. '||models'
  if redis.call('HEXISTS', name, seen) == 1 then return true end
  if (tonumber(redis.call('HGET', name, count)) or 0) >= MOST_MODELS then return false end
  redis.call('HSET', name, seen, 1)
  redis.call('HINCRBY', name, count, 1)
  return true
end

local function write_books()
  local name
  for whose, one in pairs(books) do
    name = name or key('cost', today())
    if redis.call('HLEN', name) >= MOST_AMOUNTS and redis.call('HEXISTS', name, whose .. '|calls') == 0 then
      whose = one.tenant .. '|(other)|(other)'
    elseif not has_row(name, one) then
      whose = one.tenant .. '|' .. one.provider .. '|(other)'
    end
    for what, amount in pairs(one.amounts) do
      -- pcall: a sum that no number holds any more (a provider that lies about tokens) must not keep others from being booked.
      if IN_USD[what] then
        redis.pcall('HINCRBYFLOAT', name, whose .. '|' .. what, string.format('%.12g', amount))
      else
        redis.pcall('HINCRBY', name, whose .. '|' .. what, string.format('%.0f', amount))
      end
    end
  end
  if name then redis.call('PEXPIRE', name, BOOKS_KEPT_MS) end
end
