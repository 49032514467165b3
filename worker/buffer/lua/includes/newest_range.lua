-- The range that new records of an ordered kind go to; the first of them begin it.
-- needs: partition_ranges
local function newest_range(kind, partitions)
  local known = partition_ranges(kind)
  if #known == 0 then
    redis.call('RPUSH', KEYS[1] .. ':layout:' .. kind, '0:' .. partitions)
    return {0, tonumber(partitions)}
  end
  return known[#known]
end
