-- Return a claimed batch, or nil; docs/redis.md lists its fields.
local function load_batch(id)
  local raw = redis.call('HGET', KEYS[1] .. ':batches', id)
  return raw and cjson.decode(raw)
end
