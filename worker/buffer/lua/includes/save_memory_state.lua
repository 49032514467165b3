-- Save whether the memory is full ('1' or '0'), and for how long that is valid.
local function save_memory_state(full, now, holds_ms)
  redis.call('HSET', KEYS[1] .. ':state', 'memory_full', full, 'memory_seen_until', now + holds_ms)
end
