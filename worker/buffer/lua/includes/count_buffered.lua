-- Return how many records of a kind are buffered, and the id of the oldest of them ('' when there
-- is none).
-- needs: pending_key, ranges_with_default
local function count_buffered(kind)
  local buffered, oldest = 0, ''
  for _, range in ipairs(ranges_with_default(kind)) do
    for partition = range[1], range[1] + range[2] - 1 do
      local list = pending_key(kind, partition)
      local size = redis.call('LLEN', list)
      if size > 0 then
        buffered = buffered + size
        local first = redis.call('LINDEX', list, 0):sub(1, 32)
        if oldest == '' or first < oldest then oldest = first end
      end
    end
  end
  return buffered, oldest
end
