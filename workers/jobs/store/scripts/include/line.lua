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

-- How fast jobs of a tenant ('*': of all) ended lately: how many within how many ms, in the best of the last slots, since a
-- slot in which there was little to do says nothing of what could be done.
local function drained(tenant)
  local count, within_ms = 0, 1000
  for back = 0, 2 do
    local ended = tonumber(redis.call('HGET', ended_key(back), tenant) or 0)
    local slot_ms = back == 0 and math.max(now % ENDED_SLOT_MS, 1000) or ENDED_SLOT_MS
    if ended / slot_ms > count / within_ms then count, within_ms = ended, slot_ms end
  end
  return count, within_ms
end

-- Whether a new job would wait longer than `age_ms`, or for more than half of its own time: a job that is begun too late is
-- paid and thrown away. Its line tells: the oldest there has waited for longer, or it stands, and is too long for how fast it
-- drains. A tenant without a line waits for a round of turns, where the lines whose turn is next stand.
local STANDS_MS, LINES_SEEN = 1000, 3

-- Whether lines of a class stand. A flow stays for a turn after its line is empty, so that a few have to be looked at.
local function stand(class)
  for _, flow in ipairs(redis.call('ZRANGE', key('flows', class), 0, LINES_SEEN - 1)) do
    local oldest = redis.call('ZRANGE', key('ready', class, flow), 0, 0, 'WITHSCORES')
    if oldest[2] and now - oldest[2] >= STANDS_MS then return true end
  end
  return false
end

local function too_slow(tenant, class, age_ms, deadline_ms)
  local longest_ms = deadline_ms > 0 and math.min(age_ms, deadline_ms / 2) or age_ms
  local line = key('ready', class, tenant)
  local oldest = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  if not oldest[2] then
    local count, within_ms = drained('*')
    return count > 0 and redis.call('ZCARD', key('flows', class)) * within_ms / count > longest_ms and stand(class)
  end
  local waited_ms = now - oldest[2]
  if waited_ms > age_ms then return true end
  if waited_ms < STANDS_MS then return false end
  local count, within_ms = drained(tenant)
  if count == 0 then return waited_ms > longest_ms end
  return redis.call('ZCARD', line) * within_ms / count > longest_ms
end

-- Why a job must not enter, '' when it may. Limits of 0 are none; a deadline of 0 is not known.
local function refusal(tenant, class, limits, deadline_ms)
  local of_tenant, of_all, of_others, age_ms = unpack(limits)
  local most = class == 'high' and of_all or of_others
  if of_tenant > 0 and waiting_of(tenant) >= of_tenant then return 'tenant_queue_full' end
  if of_all > 0 and waiting_reach(most) then return 'queue_full' end
  if age_ms > 0 and too_slow(tenant, class, age_ms, deadline_ms) then return 'queue_too_slow' end
  return ''
end

-- What a refusal is explained by: jobs of the tenant that wait; of it ended lately, within ms; the same of all.
local function figures(tenant)
  local own, own_ms = drained(tenant)
  local all, all_ms = drained('*')
  return {waiting_of(tenant), own, own_ms, all, all_ms}
end

local function limits_at(i)
  return {tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])}
end
