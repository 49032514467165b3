-- Look for a record among those that a stretch of the journal calls delivered.
-- KEYS[1]  the destination's base key
-- ARGV     the record's id, 16 bytes; from and to, as XREVRANGE has them; settlements to look at
-- Returns  {stream id of the settlement that delivered it, or ''; stream id of the last one looked
--          at, '' when there is nothing more to look at}
local entries = redis.call('XREVRANGE', base .. ':journal', ARGV[2], ARGV[3], 'COUNT', ARGV[4])
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
