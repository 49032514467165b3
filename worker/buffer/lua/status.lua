-- Where every record is, at one moment.
-- KEYS[1]  the destination's base key
-- ARGV     kinds
-- Returns  {state as a flat list, leases, epoch ms, for each kind: {buffered, in flight, retrying,
--          dead, id of the oldest record buffered or ''}, counters as a flat list}
local answer = {redis.call('HGETALL', base .. ':state'), redis.call('ZCARD', base .. ':leases'), now_ms()}
local in_flight, retrying = {}, {}
for _, id in ipairs(redis.call('HKEYS', base .. ':batches')) do
  local kind, size = load_batch(id).kind, redis.call('LLEN', base .. ':batch:' .. id)
  local place = redis.call('ZSCORE', base .. ':leases', id) and in_flight or retrying
  place[kind] = (place[kind] or 0) + size
end
for _, kind in ipairs(ARGV) do
  local buffered, oldest = 0, ''
  for _, layout in ipairs(places_to_wait(kind)) do
    for partition = layout[1], layout[1] + layout[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      if size > 0 then
        buffered = buffered + size
        local first = redis.call('LINDEX', pending_key(kind, partition), 0):sub(1, 32)
        if oldest == '' or first < oldest then oldest = first end
      end
    end
  end
  answer[#answer + 1] = {buffered, in_flight[kind] or 0, retrying[kind] or 0,
                         redis.call('XLEN', base .. ':dead:' .. kind), oldest}
end
answer[#answer + 1] = redis.call('HGETALL', base .. ':counters')
return answer
