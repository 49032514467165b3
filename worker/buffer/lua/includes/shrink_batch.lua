-- Keep only the `open` records of a batch; `open_parts` counts them as {partition, records}. The
-- batch releases every partition without open records.
-- needs: push, release_partition
local function shrink_batch(id, batch, open, open_parts)
  local list, kept = KEYS[1] .. ':batch:' .. id, {}
  redis.call('DEL', list)
  if #open > 0 then push(list, open, 1, #open) end
  for at, part in ipairs(batch.parts or {}) do
    local left = open_parts[at]
    if left and left[2] > 0 then
      kept[#kept + 1] = left
    else
      release_partition(id, batch.kind, part[1])
    end
  end
  if batch.parts then batch.parts = kept end
end
