"""The scripts that change a cache in Redis: each writes the change and tells it in the log in one step.

A script sent twice (redis-py does, when an answer is late) does the same twice. Those that take away begin with a command
that frees, so that they pass when Redis is out of memory; `WRITE` is refused then.
"""

from __future__ import annotations

LOG_ENTRIES = 20_000
LOG_MS = 3_600_000
LOOKED_THROUGH = 1_000
"""More changes than these, less one, since a load began are not looked through: what it gave is not kept."""
MARKS = 500
"""With more marks than these, one takes the place of all: nothing written before it is believed."""

_LOG = f"'MAXLEN', '~', {LOG_ENTRIES}, '*'"

# KEYS log, entry; ARGV ttl in ms, digest, what follows it, since (an id in the log, or nothing), fields of the log's entry.
# With `since` nothing is written, and the answer is empty, when the value was changed after that entry or nobody can tell.
WRITE = f"""
if ARGV[4] ~= '' then
  local later = redis.call('XRANGE', KEYS[1], '(' .. ARGV[4], '+', 'COUNT', {LOOKED_THROUGH})
  if #later == {LOOKED_THROUGH} then return '' end
  for _, entry in ipairs(later) do
    local said = entry[2]
    if said[1] ~= 's' then return '' end
    if said[2] == ARGV[6] then
      if said[3] == 'k' and said[4] == ARGV[8] then return '' end
      if said[3] == 'p' and string.sub(ARGV[8], 1, #said[4]) == said[4] then return '' end
    end
  end
end
local id = redis.call('XADD', KEYS[1], {_LOG}, unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[1], {LOG_MS})
local seal = string.sub(redis.sha1hex(id .. ARGV[2]), 1, 8)
redis.call('SET', KEYS[2], id .. '|' .. seal .. ARGV[2] .. ARGV[3], 'PX', ARGV[1])
return id
"""

# KEYS log, entry; ARGV fields of the log's entry
DELETE = f"""
redis.call('UNLINK', KEYS[2])
local id = redis.call('XADD', KEYS[1], {_LOG}, unpack(ARGV))
redis.call('PEXPIRE', KEYS[1], {LOG_MS})
return id
"""

# KEYS log, marks, marked; ARGV longest ttl in ms, name of the mark, fields of the log's entry
MARK = f"""
redis.call('DEL', KEYS[3])
local id = redis.call('XADD', KEYS[1], {_LOG}, unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], {LOG_MS})
local name = ARGV[2]
if redis.call('HLEN', KEYS[2]) >= {MARKS} then
  redis.call('DEL', KEYS[2])
  name = '*'
end
redis.call('HSET', KEYS[2], name, id)
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], id, 'PX', ARGV[1])
return id
"""
