-- Find the batches that are due: a list of {id, batch} to send as one now, or nil; and a list
-- that may be sent when nothing else is ready, or nil. `sizes` are the records a batch of each kind
-- may have. Remainders are small: of a thousand records a response may leave three to retry. Full
-- batches go before them, for at most `max_wait_ms`; meanwhile remainders of one unordered kind and
-- the same attempt are collected for one request. A batch that failed as a whole, was halved, or
-- lost its worker is sent as it is, so that it cannot harm other records.
-- needs: load_batch
local function find_due(sizes, now, max_wait_ms)
  local most = 50 -- enough to keep small requests rare, and few enough to look at each time
  local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':retries', '-inf', now, 'WITHSCORES',
                           'LIMIT', 0, most)
  local groups, now_due, later = {}, nil, nil
  for at = 1, #found, 2 do
    local id, waited = found[at], now - found[at + 1]
    local batch = load_batch(id)
    local size = sizes[batch.kind] or 0
    if not batch.remainder or batch.parts or batch.deaths > 0 or batch.size >= size then
      return now_due or {{id, batch}}
    end
    local name = batch.kind .. batch.attempt
    local group = groups[name] or {total = 0}
    groups[name], later = group, later or group
    if group.total + batch.size <= size then
      group[#group + 1], group.total = {id, batch}, group.total + batch.size
    else
      now_due = now_due or group
    end
    if waited >= max_wait_ms or group.total == size then now_due = now_due or group end
  end
  return now_due or (#found == 2 * most and later or nil), later
end
