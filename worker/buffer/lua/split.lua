-- Halve a batch, in order, so that a record at fault is isolated.
-- KEYS[1]  the destination's base key
-- ARGV[1]  batch id
-- ARGV[2]  token
-- ARGV[3]  id of the second half
-- ARGV[4]  error that led here
-- ARGV[5]  deaths that the halves begin with
-- ARGV[6]  a label of the vendor's answer for the counters, '' when nothing was sent
-- ARGV[7]  the most bytes a batch may have from now on, 0 to leave it
-- ARGV[8]  ms the request took
-- ARGV[9]  the bucket of that, '' when not known
-- ARGV[10]  the bucket of the batch's size
-- Returns  {records in the first half, in the second}, or nil when the token is stale or the batch
--          has a single record: then nothing changed
-- needs: now_ms, load_batch, bypass_maxmemory_check, count_request, push, partition_queue_key
-- needs: schedule
-- The first half keeps the batch's id. Both wait, due at once; of an ordered kind, the second
-- waits for the first wherever both have records of one partition.
local base, id, second_id = KEYS[1], ARGV[1], ARGV[3]
local batch = load_batch(id)
if not batch or batch.token ~= ARGV[2] or batch.begun == 0 or batch.size < 2 then return nil end
bypass_maxmemory_check()
local now, list = now_ms(), base .. ':batch:' .. id
local half = math.ceil(batch.size / 2)
redis.call('ZREM', base .. ':leases', id)
if ARGV[6] ~= '' then
  count_request(batch.kind, ARGV[6], batch.size, ARGV[8], ARGV[9], ARGV[10])
end
local records = redis.call('LRANGE', list, half, -1)
redis.call('LTRIM', list, 0, half - 1)
push(base .. ':batch:' .. second_id, records, 1, #records)

local first_parts, second_parts, before = {}, {}, 0
for _, part in ipairs(batch.parts or {}) do
  local in_first = math.max(0, math.min(part[2], half - before))
  local queue = partition_queue_key(batch.kind, part[1])
  if in_first > 0 then first_parts[#first_parts + 1] = {part[1], in_first} end
  if in_first < part[2] then
    second_parts[#second_parts + 1] = {part[1], part[2] - in_first}
    redis.call('LINSERT', queue, 'AFTER', id, second_id)
  end
  if in_first == 0 then redis.call('LREM', queue, 1, id) end
  before = before + part[2]
end

-- A batch claimed before the last 413 must not raise what that one lowered.
local most = tonumber(ARGV[7])
if most > 0 then
  local known = tonumber(redis.call('HGET', base .. ':state', 'max_bytes')) or most
  redis.call('HSET', base .. ':state', 'max_bytes', math.min(known, most), 'bytes_run', 0)
end

batch.failed = now
batch.remainder = nil -- suspects are sent with no others
local second = {}
for field, value in pairs(batch) do second[field] = value end
second.size, second.parts = #records, batch.parts and second_parts
batch.size, batch.parts = half, batch.parts and first_parts
batch.error, second.error = ARGV[4], ARGV[4]
batch.deaths, second.deaths = tonumber(ARGV[5]), tonumber(ARGV[5])
schedule(id, batch, now)
schedule(second_id, second, now)
return {half, #records}
