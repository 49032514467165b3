-- Append records ARGV[first..] of an ordered kind to their partitions' lists, in order; `hashes`
-- holds four bytes a record, big endian.
-- needs: pending_key, partition_of, push
local function push_ordered(kind, range, hashes, first, size)
  if size == 1 then
    redis.call('RPUSH', pending_key(kind, partition_of(range, hashes, 1)), ARGV[first])
    return
  end
  local partitions = {}
  for position = 1, size do
    local partition = partition_of(range, hashes, position)
    local records = partitions[partition]
    if not records then
      records = {}
      partitions[partition] = records
    end
    records[#records + 1] = ARGV[first + position - 1]
  end
  for partition, records in pairs(partitions) do
    push(pending_key(kind, partition), records, 1, #records)
  end
end
