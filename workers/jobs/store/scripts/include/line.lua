-- How many jobs wait, whether there is room for one more, and how fast the queue drains. A count is the size of what is
-- counted, read when it is asked for: none can drift. Reads a fixed number of sizes; one for each worker when it is nearly full.
--
-- ready:{class}:{flow}, tenant:{id}:delayed, jobs:deadline, workers, owner:{owner}:jobs, flows:{class}   sizes are read
-- ended:{slot}   see include/terminal; read

local function waiting_of(tenant)
  local count = redis.call('ZCARD', key('tenant', tenant, 'delayed'))
  for _, class in ipairs({'high', 'normal', 'low', 'suspect'}) do
    count = count + redis.call('ZCARD', key('ready', class, tenant))
  end
  return count
end

-- Whether at least `most` jobs of all tenants wait: those that have not ended, but for those that run.
local function waiting_reach(most)
  local count = redis.call('ZCARD', key('jobs', 'deadline'))
  if count < most then return false end
  for _, owner in ipairs(redis.call('ZRANGE', key('workers'), 0, -1)) do
    count = count - redis.call('HLEN', key('owner', owner, 'jobs'))
  end
  return count >= most
end

-- Jobs of a tenant ('*': of all) that ended lately, and within how many ms.
local function drained(tenant)
  local count, window_ms = 0, 0
  for back = 0, 2 do
    local ended = redis.call('HGET', ended_key(back), tenant)
    if ended then
      count = count + ended
      window_ms = now % ENDED_SLOT_MS + back * ENDED_SLOT_MS
    end
  end
  return count, math.max(window_ms, 1000)
end

-- A new job would wait longer than `age_ms`: the oldest in its own line has, or one round of turns takes as long.
local function too_slow(tenant, class, age_ms)
  local oldest = redis.call('ZRANGE', key('ready', class, tenant), 0, 0, 'WITHSCORES')
  if oldest[2] then return now - oldest[2] > age_ms end
  local count, window_ms = drained('*')
  return count > 0 and redis.call('ZCARD', key('flows', class)) * window_ms / count > age_ms
end

-- Why a job must not enter, '' when it may. Limits of 0 are none.
local function refusal(tenant, class, limits)
  local of_tenant, of_all, of_others, age_ms = unpack(limits)
  local most = class == 'high' and of_all or of_others
  if of_tenant > 0 and waiting_of(tenant) >= of_tenant then return 'tenant_queue_full' end
  if of_all > 0 and waiting_reach(most) then return 'queue_full' end
  if age_ms > 0 and too_slow(tenant, class, age_ms) then return 'queue_too_slow' end
  return ''
end

-- What a refusal is explained by: jobs of the tenant that wait; ended lately of the tenant, within ms; the same of all.
local function figures(tenant)
  local own, own_ms = drained(tenant)
  local all, all_ms = drained('*')
  return {waiting_of(tenant), own, own_ms, all, all_ms}
end

local function limits_at(i)
  return {tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])}
end
