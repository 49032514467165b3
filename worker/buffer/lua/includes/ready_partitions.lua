-- The partitions of one kind from which a batch may be claimed now: a list of {partition, records},
-- oldest first, or nil. `size` records are a full batch, ready at once. Less is ready when its
-- oldest record has waited for `max_wait_ms`, unless requests that have only just begun will free
-- enough records of the same kind to fill the batch.
-- needs: pending_key, claimable_partitions, filled_partitions
local function ready_partitions(kind, size, ordered, now, lease_ms, max_wait_ms)
  local open, held
  if ordered then
    open, held = claimable_partitions(kind, now, lease_ms, max_wait_ms)
  else
    open, held = filled_partitions(kind), 0
  end
  local total, oldest = 0, math.huge
  for _, part in ipairs(open) do
    local first = redis.call('LINDEX', pending_key(kind, part[1]), 0)
    part[3] = tonumber(first:sub(1, 12), 16) -- its id begins with the time of acceptance
    total, oldest = total + part[2], math.min(oldest, part[3])
  end
  if total == 0 then return nil end
  -- The age is by the producer's clock, and may be wrong either way: no record waits for a wrong
  -- clock. A record from more than `max_wait_ms` in the future is ready at once, too.
  local young = math.abs(now - oldest) < max_wait_ms
  if total < size and (young or total + held >= size) then return nil end
  table.sort(open, function(a, b) return a[3] < b[3] end)
  return open
end
