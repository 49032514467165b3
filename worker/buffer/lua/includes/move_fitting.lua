-- The same as move_first, but record by record, behind the `taken` records with `bytes` that are in
-- the batch already, and always at least one; returns their number, the bytes of the batch, and
-- whether it is full.
-- needs: push
local function move_fitting(pending, list, most, max_bytes, taken, bytes)
  local records, fitting, full = redis.call('LRANGE', pending, 0, most - 1), 0, false
  for _, record in ipairs(records) do
    if bytes + #record > max_bytes and taken + fitting > 0 then full = true break end
    bytes, fitting = bytes + #record, fitting + 1
  end
  redis.call('LTRIM', pending, fitting, -1)
  push(list, records, 1, fitting)
  return fitting, bytes, full
end
