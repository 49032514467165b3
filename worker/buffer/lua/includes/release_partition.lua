-- Take a batch out of a partition's queue, and schedule the one that comes next. That one waited,
-- perhaps for a day, and did not fail: its age, by which batches expire, begins here.
-- needs: now_ms, load_batch, save_batch, partition_queue_key, is_partition_head
local function release_partition(id, kind, partition)
  local queue = partition_queue_key(kind, partition)
  redis.call('LREM', queue, 1, id)
  local following = redis.call('LINDEX', queue, 0)
  if following and following ~= id then
    local batch = load_batch(following)
    if batch.token == '' and is_partition_head(following, batch) then
      batch.first = now_ms()
      save_batch(following, batch)
      redis.call('ZADD', KEYS[1] .. ':retries', batch.due, following)
    end
  end
end
