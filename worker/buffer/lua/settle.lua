-- Close an attempt: move each record of the batch to the place its verdict names.
-- KEYS[1]  the destination's base key
-- ARGV     batch id; token;
--          the outcome of every record not named below ('delivered', 'dead', 'retry'), its reason,
--          code and error; 1 when the attempt counts against the most attempts, else 0;
--          ms until a retry is due; how many of the retried the vendor may have taken already;
--          a label of the vendor's answer for the counters, '' when nothing was sent;
--          settlements the journal keeps; the ids of the delivered records, 16 bytes each;
--          records in the flood window; share of them that may die (0..1);
--          days a tally is kept; ms the request took, the buckets of that ('' when not known) and
--          of the batch's size; the reasons that do not count as a flood, by commas;
--          the number of records named, and for each: position (from 1),
--          outcome, reason, code, error; then, for the delivered: tally key ("<day> <name>"), count
-- Returns  {delivered, dead, retrying, '1' when the flood breaker paused the destination},
--          or nil when the token is stale: then nothing changed.
local id, token = ARGV[1], ARGV[2]
local usual = {ARGV[3], ARGV[4], ARGV[5], ARGV[6]}
local attempt, delay_ms, ambiguous, label = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
local journal_size, delivered_ids = tonumber(ARGV[11]), ARGV[12]
local window, share, tally_days = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local took_ms, took_bound, size_bound = ARGV[16], ARGV[17], ARGV[18]
local named = tonumber(ARGV[20])
local FIRST_NAMED = 21

local batch = load_batch(id)
if not batch or batch.token ~= token or batch.begun == 0 then return nil end
work_when_full()
local now, kind, list = now_ms(), batch.kind, base .. ':batch:' .. id
redis.call('ZREM', base .. ':leases', id)
if label ~= '' then count_request(kind, label, batch.size, took_ms, took_bound, size_bound) end
batch.attempt = batch.attempt + attempt

local exceptions = {}
for at = FIRST_NAMED, FIRST_NAMED + named * 5 - 1, 5 do
  exceptions[tonumber(ARGV[at])] = {ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]}
end

local delivered, dead, open, open_parts, last_error = 0, 0, {}, {}, usual[4]
local doomed = 0 -- deaths that a mistake of ours may have caused
local blameless = {}
for reason in ARGV[19]:gmatch('[^,]+') do blameless[reason] = true end
if named == 0 and usual[1] == 'delivered' then
  delivered = batch.size
elseif named == 0 and usual[1] == 'retry' then
  open, open_parts = nil, batch.parts
else
  local records = redis.call('LRANGE', list, 0, -1)
  local part, part_end = 0, 0
  for position, record in ipairs(records) do
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
      -- One record was too large, and not the batches it was in.
      if verdict[2] == 'too_large' then redis.call('HDEL', base .. ':state', 'max_bytes') end
      redis.call('XADD', base .. ':dead:' .. kind, '*', 'record', record, 'reason', verdict[2],
                 'code', verdict[3], 'error', verdict[4], 'attempts', batch.attempt)
      count_cause(kind, verdict[3] ~= '' and verdict[3] or verdict[2])
    else
      open[#open + 1] = record
      last_error = verdict[4]
      if batch.parts then open_parts[#open_parts][2] = open_parts[#open_parts][2] + 1 end
    end
  end
end

-- The batch shrinks to the records still open, and lets go of every partition that has none.
local retrying = open and #open or batch.size
if retrying < batch.size then
  redis.call('DEL', list)
  if retrying > 0 then push(list, open, 1, retrying) end
  local kept = {}
  for at, part in ipairs(batch.parts or {}) do
    local left = open_parts[at]
    if left and left[2] > 0 then kept[#kept + 1] = left else leave(id, kind, part[1]) end
  end
  if batch.parts then batch.parts = kept end
end
if retrying == 0 then
  redis.call('HDEL', base .. ':batches', id)
else
  -- The answer told these records from the others, so they may be sent with such of other batches.
  batch.remainder = retrying < batch.size or nil
  -- Sent, and its worker lived: what killed others before was not in it. A small batch that is tried
  -- again for hours would else die of three deployments.
  if label ~= '' then
    batch.deaths = 0
    batch.failed = retrying == batch.size and now or nil
  end
  batch.size, batch.error = retrying, last_error
  schedule(id, batch, now + delay_ms)
end

if delivered > 0 then redis.call('HSET', base .. ':state', 'taken_at:' .. kind, now) end
count(kind .. ':delivered', delivered)
count(kind .. ':dead_lettered', dead)
count(kind .. ':ambiguous', ambiguous)
for at = FIRST_NAMED + named * 5, #ARGV, 2 do
  local tally = base .. ':tally:' .. ARGV[at]:sub(1, 8)
  redis.call('HINCRBY', tally, ARGV[at]:sub(10), ARGV[at + 1])
  redis.call('EXPIRE', tally, tally_days * 86400)
end
if journal_size > 0 then
  redis.call('XADD', base .. ':journal', 'MAXLEN', '~', journal_size, '*', 'batch', id,
             'kind', kind, 'attempt', batch.attempt, 'answer', label, 'delivered', delivered,
             'dead', dead, 'retry', retrying, 'error', last_error, 'ids', delivered_ids)
end

-- The flood breaker: deaths among the last `window` records, settlement by settlement.
local tripped = '0'
if delivered + doomed > 0 then
  local recent, state = base .. ':recent', base .. ':state'
  redis.call('LPUSH', recent, delivered + doomed .. ':' .. doomed)
  local total = redis.call('HINCRBY', state, 'recent_total', delivered + doomed)
  local deaths = redis.call('HINCRBY', state, 'recent_dead', doomed)
  while true do
    local size, died = (redis.call('LINDEX', recent, -1)):match('(%d+):(%d+)')
    if total - size < window then break end
    redis.call('RPOP', recent)
    total = redis.call('HINCRBY', state, 'recent_total', 0 - size)
    deaths = redis.call('HINCRBY', state, 'recent_dead', 0 - died) -- minus zero is no integer to Redis
  end
  local status = redis.call('HGET', state, 'status')
  if total >= window and deaths > total * share and (not status or status == 'running') then
    redis.call('HSET', state, 'status', 'paused', 'since', now, 'reason',
               string.format('dead-letter flood: %d of the last %d records died', deaths, total))
    tripped = '1'
  end
end
return {delivered, dead, retrying, tripped}
