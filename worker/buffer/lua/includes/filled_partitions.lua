-- The partitions of an unordered kind that hold records, as {partition, records}: one, unless the
-- kind was ordered before.
-- needs: pending_key, ranges_with_default
local function filled_partitions(kind)
  local filled = {}
  for _, range in ipairs(ranges_with_default(kind)) do
    for partition = range[1], range[1] + range[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      if size > 0 then filled[#filled + 1] = {partition, size} end
    end
  end
  return filled
end
