-- Return the share of Redis' memory in use (0..1); 0 when it has no limit. It costs some 20 us.
local function memory_used()
  local info = redis.call('INFO', 'memory')
  local most = tonumber(info:match('maxmemory:(%d+)')) or 0
  return most > 0 and tonumber(info:match('used_memory:(%d+)')) / most or 0
end
