-- Note that a drain ran; look at Redis' memory, and whether to probe a parked destination.
-- KEYS[1]  the destination's base key
-- ARGV[1]  ms between probes
-- Returns  {'1' when memory counts as full, else '0'; '1' when a probe is due now, else '0'}
-- needs: bypass_maxmemory_check, now_ms, is_memory_full, save_memory_state
bypass_maxmemory_check()
local now, key = now_ms(), KEYS[1] .. ':state'
local full = is_memory_full() and '1' or '0'
save_memory_state(full, now, 10000)
redis.call('HSET', key, 'ticked_at', now)
redis.call('HINCRBY', key, 'ticks', 1)

local known = redis.call('HMGET', key, 'status', 'since', 'probed_at')
local function past(at) -- a time in the future was noted by a clock that was ahead of this one
  return at and tonumber(at) <= now and tonumber(at) or 0
end
local waited = now - math.max(past(known[2]), past(known[3]))
if known[1] == 'parked' and waited >= tonumber(ARGV[1]) then
  redis.call('HSET', key, 'probed_at', now)
  return {full, '1'}
end
return {full, '0'}
