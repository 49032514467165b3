-- Return where every record is, at one moment.
-- KEYS[1]  the destination's base key
-- ARGV[1...]  kinds
-- Returns  {state as a flat list, leases, epoch ms, for each kind: {buffered, in flight, retrying,
--          dead, id of the oldest record buffered or ''}, counters as a flat list}
-- needs: now_ms, load_batch, count_buffered
local base = KEYS[1]
local leases = redis.call('ZCARD', base .. ':leases')
local reply = {redis.call('HGETALL', base .. ':state'), leases, now_ms()}
local in_flight, retrying = {}, {}
for _, id in ipairs(redis.call('HKEYS', base .. ':batches')) do
  local kind, size = load_batch(id).kind, redis.call('LLEN', base .. ':batch:' .. id)
  local place = redis.call('ZSCORE', base .. ':leases', id) and in_flight or retrying
  place[kind] = (place[kind] or 0) + size
end
for _, kind in ipairs(ARGV) do
  local buffered, oldest = count_buffered(kind)
  reply[#reply + 1] = {buffered, in_flight[kind] or 0, retrying[kind] or 0,
                       redis.call('XLEN', base .. ':dead:' .. kind), oldest}
end
reply[#reply + 1] = redis.call('HGETALL', base .. ':counters')
return reply
