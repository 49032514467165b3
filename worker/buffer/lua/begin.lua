-- Begin to send a batch that was claimed for us: renew its lease under a token of our own.
-- KEYS[1]  the destination's base key
-- ARGV     batch id; the token it was claimed under; new token; lease ms;
--          requests per second (0: no limit)
-- Returns  {batch id, batch as JSON}, or nil when the token is stale (the batch was
--          settled, or its lease ran out and was given to another), or when the destination was
--          stopped in between: then the batch waits again.
local id, now = ARGV[1], now_ms()
local batch = load_batch(id)
if not batch or batch.begun ~= 0 or batch.token ~= ARGV[2] then
  -- Our own call, repeated because its answer was lost?
  if batch and batch.begun ~= 0 and batch.token == ARGV[3] then
    return describe(id, batch)
  end
  return nil
end
work_when_full()
local status = redis.call('HGET', base .. ':state', 'status')
if status and status ~= 'running' then
  redis.call('ZREM', base .. ':leases', id)
  schedule(id, batch, now)
  return nil
end
-- A slot missed on the way here is made up for by another: messages that a busy worker held up
-- would else all be sent at once.
local rate, slot = tonumber(ARGV[5]), batch.slot or 0
if rate > 0 and (now - slot > LATE_MS or is_of_another_clock(slot, now, rate)) then
  batch.slot = next_slot(now, rate)
  take_slot(batch.slot, rate)
end
lease(id, batch, ARGV[3], tonumber(ARGV[4]), true, now)
return describe(id, batch)
