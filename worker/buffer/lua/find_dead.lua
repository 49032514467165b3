-- Look for a record in a stretch of the dead letters of one kind.
-- KEYS[1]  the destination's base key
-- ARGV[1]  kind
-- ARGV[2]  the record's id, 32 hex digits
-- ARGV[3]  from, as XRANGE has it
-- ARGV[4]  to
-- ARGV[5]  how many to look at
-- Returns  {stream id of its dead letter, or ''; stream id of the last one looked at, '' when there
--          is nothing more to look at}
local stream = KEYS[1] .. ':dead:' .. ARGV[1]
local entries = redis.call('XRANGE', stream, ARGV[3], ARGV[4], 'COUNT', ARGV[5])
for _, entry in ipairs(entries) do
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'record' and entry[2][field + 1]:sub(1, 32) == ARGV[2] then
      return {entry[1], entry[1]}
    end
  end
end
return {'', #entries == tonumber(ARGV[5]) and entries[#entries][1] or ''}
