-- The partitions of an ordered kind to claim from, as {partition, records}, and how many records
-- are held by batches that began less than `max_wait_ms` ago. Only the oldest range that is not yet
-- empty counts, so that no record overtakes after the number of partitions changed; empty ranges
-- are removed.
-- needs: bypass_maxmemory_check, pending_key, partition_queue_key, ranges_with_default
local function claimable_partitions(kind, now, lease_ms, max_wait_ms)
  local known = ranges_with_default(kind)
  for at, range in ipairs(known) do
    local open, held, busy = {}, 0, false
    for partition = range[1], range[1] + range[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      local first = redis.call('LINDEX', partition_queue_key(kind, partition), 0)
      if first then
        busy = true
        local deadline = tonumber(redis.call('ZSCORE', KEYS[1] .. ':leases', first) or 0)
        if now - (deadline - lease_ms) < max_wait_ms then held = held + size end
      elseif size > 0 then
        open[#open + 1] = {partition, size}
      end
    end
    if #open > 0 or busy or at == #known then return open, held end
    if not range.unlisted then
      bypass_maxmemory_check()
      redis.call('LPOP', KEYS[1] .. ':layout:' .. kind)
    end
  end
  return {}, 0
end
