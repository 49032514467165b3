-- Look for a record among those that a stretch of the journal calls delivered.
-- KEYS[1]  the destination's base key
-- ARGV[1]  the record's id, 16 bytes
-- ARGV[2]  from, as XREVRANGE has it
-- ARGV[3]  to
-- ARGV[4]  settlements to look at
-- Returns  {stream id of the settlement that delivered it, or ''; stream id of the last one looked
--          at, '' when there is nothing more to look at}
local entries = redis.call('XREVRANGE', KEYS[1] .. ':journal', ARGV[2], ARGV[3], 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'ids' then
      local ids, from = entry[2][field + 1], 1
      while from do
        local at = ids:find(ARGV[1], from, true)
        if at and at % 16 == 1 then return {entry[1], entry[1]} end
        from = at and at + 1
      end
    end
  end
end
return {'', #entries == tonumber(ARGV[4]) and entries[#entries][1] or ''}
