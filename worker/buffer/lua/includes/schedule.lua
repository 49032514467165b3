-- Let a batch wait until `due`; one that is not its partitions' head is scheduled when it becomes
-- that.
-- needs: save_batch, is_partition_head
local function schedule(id, batch, due)
  batch.due, batch.begun, batch.token = due, 0, ''
  save_batch(id, batch)
  if is_partition_head(id, batch) then redis.call('ZADD', KEYS[1] .. ':retries', due, id) end
end
