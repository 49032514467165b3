-- Save what was seen of the memory ('1' when it is full, else '0'), and for how long that holds.
local function save_memory_state(full, now, holds_ms)
  redis.call('HSET', KEYS[1] .. ':state', 'memory_full', full, 'memory_seen_until', now + holds_ms)
end
