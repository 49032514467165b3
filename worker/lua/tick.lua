-- Note that a drain ran; look at Redis' memory, and whether a parked destination is to be probed.
-- When Redis is nearly out of memory producers are refused, before Redis refuses everybody, the
-- broker on it included.
-- KEYS[1]  the destination's base key
-- ARGV     the share of maxmemory (0..1) above which memory counts as full; ms between probes
-- Returns  {'1' when memory counts as full, else '0'; '1' when a probe is due now, else '0'}
work_when_full()
local now, key = now_ms(), base .. ':state'
local info = redis.call('INFO', 'memory')
local used = tonumber(info:match('used_memory:(%d+)')) or 0
local most = tonumber(info:match('maxmemory:(%d+)')) or 0
local full = most > 0 and used > most * tonumber(ARGV[1]) and '1' or '0'
redis.call('HSET', key, 'ticked_at', now, 'memory_full', full)
redis.call('HINCRBY', key, 'ticks', 1)

local known = redis.call('HMGET', key, 'status', 'since', 'probed_at')
local waited = now - math.max(tonumber(known[2]) or 0, tonumber(known[3]) or 0)
if known[1] == 'parked' and waited >= tonumber(ARGV[2]) then
  redis.call('HSET', key, 'probed_at', now)
  return {full, '1'}
end
return {full, '0'}
