-- Close an attempt: move each record of the batch to the place that its verdict names.
-- KEYS[1]  the destination's base key
-- ARGV[1]  batch id
-- ARGV[2]  token
-- ARGV[3]  the outcome of every record not named below: 'delivered', 'dead' or 'retry'
-- ARGV[4]  its reason
-- ARGV[5]  its code, or ''
-- ARGV[6]  its error
-- ARGV[7]  1 when the attempt counts against the most attempts, else 0
-- ARGV[8]  ms until a retry is due
-- ARGV[9]  how many of the retried records the vendor may have taken already
-- ARGV[10]  a label of the vendor's answer for the counters, '' when nothing was sent
-- ARGV[11]  settlements that the journal keeps
-- ARGV[12]  the ids of the delivered records, 16 bytes each
-- ARGV[13]  records in the flood window
-- ARGV[14]  share of them that may die (0..1)
-- ARGV[15]  days for which a tally is kept
-- ARGV[16]  ms the request took
-- ARGV[17]  the bucket of that, '' when not known
-- ARGV[18]  the bucket of the batch's size
-- ARGV[19]  the reasons that do not count as a flood, separated by commas
-- ARGV[20]  the number of records named
-- ARGV[21...]  for each of them: position (from 1), outcome, reason, code, error; then, for the
--          delivered: tally key ("<day> <name>"), count
-- Returns  {delivered, dead, retrying, '1' when the flood breaker paused the destination}, or nil
--          when the token is stale: then nothing changed
-- needs: now_ms, load_batch, bypass_maxmemory_check, count_request, add_dead_letter, shrink_batch
-- needs: schedule, count, update_flood_breaker
local base, id, token = KEYS[1], ARGV[1], ARGV[2]
local usual = {ARGV[3], ARGV[4], ARGV[5], ARGV[6]}
local label, named = ARGV[10], tonumber(ARGV[20])
local FIRST_NAMED = 21

local batch = load_batch(id)
if not batch or batch.token ~= token or batch.begun == 0 then return nil end
bypass_maxmemory_check()
local now, kind = now_ms(), batch.kind
redis.call('ZREM', base .. ':leases', id)
if label ~= '' then count_request(kind, label, batch.size, ARGV[16], ARGV[17], ARGV[18]) end
batch.attempt = batch.attempt + tonumber(ARGV[7])

-- 1. Count by verdict; move the dead; note which records, and which of each partition, stay open.
local delivered, dead, doomed = 0, 0, 0 -- doomed: dead, maybe by our mistake
local open, open_parts, last_error = {}, {}, usual[4]
if named == 0 and usual[1] == 'delivered' then
  delivered = batch.size
elseif named == 0 and usual[1] == 'retry' then
  open, open_parts = nil, batch.parts
else
  local exceptions, blameless = {}, {}
  for at = FIRST_NAMED, FIRST_NAMED + named * 5 - 1, 5 do
    exceptions[tonumber(ARGV[at])] = {ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]}
  end
  for reason in ARGV[19]:gmatch('[^,]+') do blameless[reason] = true end
  local part, part_end = 0, 0
  for position, record in ipairs(redis.call('LRANGE', base .. ':batch:' .. id, 0, -1)) do
    local verdict = exceptions[position] or usual
    if batch.parts and position > part_end then
      part = part + 1
      part_end = part_end + batch.parts[part][2]
      open_parts[#open_parts + 1] = {batch.parts[part][1], 0}
    end
    if verdict[1] == 'delivered' then
      delivered = delivered + 1
    elseif verdict[1] == 'dead' then
      dead = dead + 1
      if not blameless[verdict[2]] then doomed = doomed + 1 end
      add_dead_letter(kind, record, verdict, batch.attempt)
    else
      open[#open + 1] = record
      last_error = verdict[4]
      if batch.parts then open_parts[#open_parts][2] = open_parts[#open_parts][2] + 1 end
    end
  end
end

-- 2. Let what is open wait again.
local retrying = open and #open or batch.size
if retrying < batch.size then shrink_batch(id, batch, open, open_parts) end
if retrying == 0 then
  redis.call('HDEL', base .. ':batches', id)
else
  -- The response settled the other records, so these may be merged with other remainders.
  batch.remainder = retrying < batch.size or nil
  -- Sent, and its worker survived: it did not cause the earlier deaths. A small batch that is
  -- retried for hours must not become dead letters because of three deployments.
  if label ~= '' then
    batch.deaths = 0
    batch.failed = retrying == batch.size and now or nil
  end
  batch.size, batch.error = retrying, last_error
  schedule(id, batch, now + tonumber(ARGV[8]))
end

-- 3. Count, and keep what `trace` and `reconcile` look up.
if delivered > 0 then redis.call('HSET', base .. ':state', 'taken_at:' .. kind, now) end
count(kind .. ':delivered', delivered)
count(kind .. ':dead_lettered', dead)
count(kind .. ':ambiguous', tonumber(ARGV[9]))
for at = FIRST_NAMED + named * 5, #ARGV, 2 do
  local tally = base .. ':tally:' .. ARGV[at]:sub(1, 8)
  redis.call('HINCRBY', tally, ARGV[at]:sub(10), ARGV[at + 1])
  redis.call('EXPIRE', tally, tonumber(ARGV[15]) * 86400)
end
if tonumber(ARGV[11]) > 0 then
  redis.call('XADD', base .. ':journal', 'MAXLEN', '~', ARGV[11], '*', 'batch', id,
             'kind', kind, 'attempt', batch.attempt, 'answer', label, 'delivered', delivered,
             'dead', dead, 'retry', retrying, 'error', last_error, 'ids', ARGV[12])
end

-- 4. A flood of deaths pauses the destination.
local tripped = delivered + doomed > 0
  and update_flood_breaker(delivered + doomed, doomed, tonumber(ARGV[13]), tonumber(ARGV[14]), now)
return {delivered, dead, retrying, tripped and '1' or '0'}
