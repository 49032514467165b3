-- Begin to send a batch that was claimed for us: renew its lease under our own token.
-- KEYS[1]  the destination's base key
-- ARGV[1]  batch id
-- ARGV[2]  the token it was claimed under
-- ARGV[3]  new token
-- ARGV[4]  lease ms
-- ARGV[5]  requests per second (0: no limit)
-- Returns  {batch id, batch as JSON}, or nil when the token is stale (the batch was settled, or its
--          lease ran out and was given to another), or when the destination was stopped in between:
--          then the batch waits again
-- needs: now_ms, load_batch, batch_reply, bypass_maxmemory_check, schedule, lease
-- needs: is_from_another_clock, next_slot, reserve_slot
local base, id, now = KEYS[1], ARGV[1], now_ms()
local batch = load_batch(id)
if not batch or batch.begun ~= 0 or batch.token ~= ARGV[2] then
  -- Our own call, repeated because its answer was lost?
  if batch and batch.begun ~= 0 and batch.token == ARGV[3] then
    return batch_reply(id, batch)
  end
  return nil
end
bypass_maxmemory_check()
local status = redis.call('HGET', base .. ':state', 'status')
if status and status ~= 'running' then
  redis.call('ZREM', base .. ':leases', id)
  schedule(id, batch, now)
  return nil
end
-- A slot that was missed on the way here is replaced: messages that a busy worker held up must not
-- all be sent together.
local rate, slot, LATE_MS = tonumber(ARGV[5]), batch.slot or 0, 50
if rate > 0 and (now - slot > LATE_MS or is_from_another_clock(slot, now, rate)) then
  batch.slot = next_slot(now, rate)
  reserve_slot(batch.slot, rate)
end
lease(id, batch, ARGV[3], tonumber(ARGV[4]), true, now)
return batch_reply(id, batch)
