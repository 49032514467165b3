-- Change whether a destination delivers: running, paused (by a person or the flood breaker) or
-- parked (the vendor refuses our credentials or address).
-- KEYS[1]  the destination's base key
-- ARGV[1]  new status
-- ARGV[2]  reason, '' for none
-- ARGV[3]  the statuses that it may be changed from, separated by commas
-- Returns  1 when it was changed, 0 when it is in another status
-- needs: now_ms, bypass_maxmemory_check
local base, state = KEYS[1], KEYS[1] .. ':state'
local status = redis.call('HGET', state, 'status') or 'running'
if not (',' .. ARGV[3] .. ','):find(',' .. status .. ',', 1, true) then return 0 end
bypass_maxmemory_check()
local now = now_ms()
redis.call('HSET', state, 'status', ARGV[1], 'reason', ARGV[2], 'since', now)
if ARGV[1] == 'running' then
  redis.call('HDEL', state, 'failures', 'open_at', 'recent_total', 'recent_dead', 'max_bytes')
  redis.call('DEL', base .. ':recent')
  -- A person's decision counts for more than the wait that a vendor once asked for.
  if status == 'paused' then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. ':retries', now, '+inf')) do
      redis.call('ZADD', base .. ':retries', now, id)
    end
  end
end
return 1
