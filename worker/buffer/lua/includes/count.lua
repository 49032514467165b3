-- Add to one of the destination's totals.
local function count(field, by)
  if by ~= 0 then redis.call('HINCRBY', KEYS[1] .. ':counters', field, by) end
end
