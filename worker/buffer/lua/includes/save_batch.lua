-- Save the fields of a claimed batch.
local function save_batch(id, batch)
  redis.call('HSET', KEYS[1] .. ':batches', id, cjson.encode(batch))
end
