-- Merge the batches that `find_due` put together, up to `max_bytes`, into the first of them, ready
-- to be leased; returns its id and fields. The others go on waiting.
-- needs: push
local function merge_batches(group, max_bytes)
  local id, batch = group[1][1], group[1][2]
  local list = KEYS[1] .. ':batch:' .. id
  local bytes = redis.call('MEMORY', 'USAGE', list, 'SAMPLES', 0)
  for at = 2, #group do
    local other_id, other = group[at][1], group[at][2]
    local other_list = KEYS[1] .. ':batch:' .. other_id
    bytes = bytes + redis.call('MEMORY', 'USAGE', other_list, 'SAMPLES', 0)
    if bytes > max_bytes then break end
    push(list, redis.call('LRANGE', other_list, 0, -1), 1, other.size)
    batch.size = batch.size + other.size
    batch.first = math.min(batch.first, other.first)
    redis.call('DEL', other_list)
    redis.call('HDEL', KEYS[1] .. ':batches', other_id)
    redis.call('ZREM', KEYS[1] .. ':retries', other_id)
  end
  redis.call('ZREM', KEYS[1] .. ':retries', id)
  return id, batch
end
