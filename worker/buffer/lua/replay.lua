-- Put dead letters of one kind back at the end of the buffer.
-- KEYS[1]  the destination's base key
-- ARGV[1]  kind
-- ARGV[2]  partitions to begin with (ordered kinds)
-- ARGV[3]  the identity hashes, 4 bytes each, big endian, or '' for an unordered kind
-- ARGV[4...]  for each: stream id, the record to send instead or '' for the record as it is
-- Returns  the number put back; an entry that is no longer there does not count
-- needs: newest_range, partition_of, pending_key, count
local base, kind, hashes = KEYS[1], ARGV[1], ARGV[3]
local dead, replayed = base .. ':dead:' .. kind, 0
local range = hashes ~= '' and newest_range(kind, ARGV[2])
for at = 4, #ARGV, 2 do
  local entry = redis.call('XRANGE', dead, ARGV[at], ARGV[at])[1]
  if entry then
    local record = ARGV[at + 1]
    for field = 1, #entry[2], 2 do
      if record == '' and entry[2][field] == 'record' then record = entry[2][field + 1] end
    end
    redis.call('XDEL', dead, ARGV[at])
    local partition = range and partition_of(range, hashes, (at - 2) / 2) or 0
    redis.call('RPUSH', pending_key(kind, partition), record)
    replayed = replayed + 1
  end
end
if replayed > 0 then
  count(kind .. ':replayed', replayed)
  redis.call('HINCRBY', base .. ':state', 'buffered', replayed)
end
return replayed
