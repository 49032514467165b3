-- Return whether a batch is the first out of each of its partitions: an ordered one may be sent
-- only then.
-- needs: partition_queue_key
local function is_partition_head(id, batch)
  for _, part in ipairs(batch.parts or {}) do
    if redis.call('LINDEX', partition_queue_key(batch.kind, part[1]), 0) ~= id then return false end
  end
  return true
end
