-- The ranges of an ordered kind's partitions, oldest first, as {first partition, count}.
local function partition_ranges(kind)
  local found = {}
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1] .. ':layout:' .. kind, 0, -1)) do
    local first, partitions = entry:match('(%d+):(%d+)')
    found[#found + 1] = {tonumber(first), tonumber(partitions)}
  end
  return found
end
