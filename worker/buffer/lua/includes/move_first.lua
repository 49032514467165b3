-- Move up to `most` records from the head of a list into a new batch's, without reading them:
-- Redis copies a thousand in 0.2 ms, where loading them into Lua and pushing them takes 0.8, and
-- writes them to the append-only file once more. Returns their number and at least their bytes, or
-- nil when that is too much.
local function move_first(pending, list, most, max_bytes)
  redis.call('SORT', pending, 'BY', 'nosort', 'LIMIT', 0, most, 'STORE', list)
  local bytes = redis.call('MEMORY', 'USAGE', list, 'SAMPLES', 0)
  if bytes > max_bytes then
    redis.call('DEL', list)
    return nil
  end
  local moved = redis.call('LLEN', list)
  redis.call('LTRIM', pending, moved, -1)
  return moved, bytes
end
