-- Lease one batch: a waiting one that is due, or else records out of the buffer.
-- KEYS[1]  the destination's base key
-- ARGV[1]  new batch id
-- ARGV[2]  token
-- ARGV[3]  lease ms
-- ARGV[4]  '1' when the caller sends the batch now
-- ARGV[5]  concurrency limit
-- ARGV[6]  concurrency to begin with
-- ARGV[7]  max wait ms
-- ARGV[8]  max bytes of a batch
-- ARGV[9]  requests per second (0: no limit)
-- ARGV[10...]  for each kind: name, records a batch, '1' when ordered
-- Returns  {batch id, batch as JSON}, or nil when there is nothing to claim now
-- needs: now_ms, find_leased, load_batch, bypass_maxmemory_check, next_slot, reserve_slot
-- needs: find_due, merge_batches, last_taken_at, ready_partitions, fill_batch
-- needs: partition_queue_key, lease, batch_reply
-- The batch says when it may be sent, so that all processes together keep to the requests per
-- second: each claim takes the next slot, and the sender waits for it.
-- A call that is repeated because its answer was lost returns the same batch.
local base, id, token = KEYS[1], ARGV[1], ARGV[2]
local lease_ms, begun = tonumber(ARGV[3]), ARGV[4] == '1'
local limit, start, max_wait_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local max_bytes, rate = tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_ms()

-- 1. Was this call made before?
local leased = find_leased(token)
if leased then return leased end
if load_batch(id) then return nil end -- claimed before, and its lease has run out since

-- 2. May anything be sent now?
local state = redis.call('HMGET', base .. ':state', 'status', 'concurrency', 'open_at',
                         'failures', 'max_bytes', 'cursor')
if state[1] and state[1] ~= 'running' then return nil end
if now < (tonumber(state[3]) or 0) then return nil end
-- After a failure, and until a success, one request at a time tries the vendor.
local allowed = (tonumber(state[4]) or 0) > 0 and 1 or math.min(tonumber(state[2]) or start, limit)
if redis.call('ZCARD', base .. ':leases') >= allowed then return nil end
max_bytes = math.min(max_bytes, tonumber(state[5]) or max_bytes)
-- Slots are given out for a second ahead, which is the time between two drains.
local slot, AHEAD_MS = rate > 0 and next_slot(now, rate) or nil, 1000
if slot and slot - now >= AHEAD_MS then return nil end

local function begin_to_write()
  bypass_maxmemory_check()
  if slot then reserve_slot(slot, rate) end
end

-- 3. Waiting batches that are due go first.
local function claim_due(group)
  begin_to_write()
  local due_id, batch = merge_batches(group, max_bytes)
  batch.slot = slot
  batch.alone = batch.failed and last_taken_at(batch.kind) > batch.failed
  lease(due_id, batch, token, lease_ms, begun, now)
  return batch_reply(due_id, batch)
end

local sizes = {}
for at = 10, #ARGV, 3 do sizes[ARGV[at]] = tonumber(ARGV[at + 1]) end
local due, later = find_due(sizes, now, max_wait_ms)
if due then return claim_due(due) end

-- 4. Then records out of the buffer; kinds take turns.
local kinds, cursor = (#ARGV - 9) / 3, tonumber(state[6]) or 0
for turn = 0, kinds - 1 do
  local at = (cursor + turn) % kinds
  local kind, size = ARGV[10 + at * 3], tonumber(ARGV[11 + at * 3])
  local ordered = ARGV[12 + at * 3] == '1'
  local partitions = ready_partitions(kind, size, ordered, now, lease_ms, max_wait_ms)
  if partitions then
    begin_to_write()
    redis.call('HSET', base .. ':state', 'cursor', (at + 1) % kinds)
    local taken, parts = fill_batch(id, kind, size, max_bytes, partitions)
    if ordered then
      for _, part in ipairs(parts) do
        redis.call('RPUSH', partition_queue_key(kind, part[1]), id)
      end
    end
    redis.call('HINCRBY', base .. ':state', 'buffered', -taken)
    local batch = {kind = kind, size = taken, attempt = 0, deaths = 0, first = now, error = '',
                   parts = ordered and parts or nil, slot = slot}
    lease(id, batch, token, lease_ms, begun, now)
    return batch_reply(id, batch)
  end
end

-- 5. Nothing else is ready: remainders need not wait for more of their kind.
return later and claim_due(later) or nil
