-- Take records of one kind into the buffer: all of them, or none.
-- KEYS[1]  the destination's base key
-- ARGV     kind; partitions to begin with (ordered kinds); the most records that may be buffered;
--          the identity hashes, 4 bytes each, big endian, or '' for an unordered kind; the records
-- Returns  the number of records buffered now, or -1 when the limit is reached, -2 when
--          Redis is nearly full; out of memory raises Redis' own error.
-- Its first write needs memory, on purpose: with memory full nothing changes.
local kind, limit, hashes = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local size = #ARGV - 4
local state = redis.call('HMGET', base .. ':state', 'buffered', 'memory_full', 'memory_seen_until')
if memory_is_full(state[2], state[3], size) then return -2 end
if (tonumber(state[1]) or 0) + size > limit then return -1 end

if hashes == '' then
  push(pending_key(kind, 0), ARGV, 5, #ARGV)
else
  local layout = begun_layout(kind, ARGV[2])
  for position = 1, size do
    local partition = partition_of(layout, hashes, position)
    redis.call('RPUSH', pending_key(kind, partition), ARGV[position + 4])
  end
end
redis.call('HINCRBY', base .. ':counters', kind .. ':accepted', size)
return redis.call('HINCRBY', base .. ':state', 'buffered', size)
