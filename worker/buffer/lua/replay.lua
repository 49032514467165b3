-- Put dead letters of one kind back at the end of the buffer.
-- KEYS[1]  the destination's base key
-- ARGV     kind; partitions to begin with (ordered kinds); the identity hashes, 4 bytes each, big
--          endian, or '' for an unordered kind; then, for each: stream id, the record to send
--          instead or '' for the record as it is
-- Returns  the number put back; an entry that is no longer there counts for nothing.
local kind, hashes = ARGV[1], ARGV[3]
local dead, replayed = base .. ':dead:' .. kind, 0
local layout = hashes ~= '' and begun_layout(kind, ARGV[2])
for at = 4, #ARGV, 2 do
  local entry = redis.call('XRANGE', dead, ARGV[at], ARGV[at])[1]
  if entry then
    local record = ARGV[at + 1]
    for field = 1, #entry[2], 2 do
      if record == '' and entry[2][field] == 'record' then record = entry[2][field + 1] end
    end
    redis.call('XDEL', dead, ARGV[at])
    local partition = layout and partition_of(layout, hashes, (at - 2) / 2) or 0
    redis.call('RPUSH', pending_key(kind, partition), record)
    replayed = replayed + 1
  end
end
if replayed > 0 then
  count(kind .. ':replayed', replayed)
  redis.call('HINCRBY', base .. ':state', 'buffered', replayed)
end
return replayed
