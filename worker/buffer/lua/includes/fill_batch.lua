-- Move up to `size` records, and at most `max_bytes` (but always one), from partitions into a new
-- batch's list; returns their number, and of each partition {partition, records moved}.
-- needs: pending_key, move_first, move_fitting
local function fill_batch(id, kind, size, max_bytes, partitions)
  local list = KEYS[1] .. ':batch:' .. id
  local taken, bytes, parts = 0, 0, {}
  for _, part in ipairs(partitions) do
    local pending = pending_key(kind, part[1])
    local moved, now_bytes, full
    if taken == 0 then moved, now_bytes = move_first(pending, list, size, max_bytes) end
    if not moved then
      moved, now_bytes, full = move_fitting(pending, list, size - taken, max_bytes, taken, bytes)
    end
    if moved > 0 then
      taken, bytes = taken + moved, now_bytes
      parts[#parts + 1] = {part[1], moved}
    end
    if full or taken >= size then break end
  end
  return taken, parts
end
