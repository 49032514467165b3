-- Lease one batch: a waiting one that is due, else records out of the buffer.
-- KEYS[1]  the destination's base key
-- ARGV     new batch id; token; lease ms; '1' when the caller sends it now; concurrency limit;
--          concurrency to begin with; max wait ms; max bytes of a batch; requests per second (0: no
--          limit); then, for each kind: name, records a batch, '1' when ordered
-- Returns  {batch id, batch as JSON}, or nil when there is nothing to claim now. The records are
--          read from the batch's list: passed through Lua they would cost four times as much.
-- The batch tells when it may be sent, so that all processes together keep to the requests per
-- second: each claim takes the next slot, and whoever sends waits for it.
-- Repeating a call whose answer was lost gives the same batch again.
local id, token, lease_ms, begun = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local limit, start, max_wait_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local max_bytes, rate = tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_ms()

-- What this call claimed when it was made before: looked for in the text, which costs a tenth of
-- decoding each batch in flight.
local leased = redis.call('ZRANGE', base .. ':leases', 0, -1)
if #leased > 0 then
  for at, raw in ipairs(redis.call('HMGET', base .. ':batches', unpack(leased))) do
    if raw and raw:find(token, 1, true) then return {leased[at], raw} end
  end
end
if load_batch(id) then return nil end -- claimed before, and its lease has run out since

local state = redis.call('HMGET', base .. ':state', 'status', 'concurrency', 'open_at',
                         'failures', 'max_bytes', 'cursor')
if state[1] and state[1] ~= 'running' then return nil end
if now < (tonumber(state[3]) or 0) then return nil end
-- With a failure not yet followed by a success, one request at a time finds out.
local allowed = (tonumber(state[4]) or 0) > 0 and 1 or math.min(tonumber(state[2]) or start, limit)
if redis.call('ZCARD', base .. ':leases') >= allowed then return nil end
max_bytes = math.min(max_bytes, tonumber(state[5]) or max_bytes)

-- Slots are given out for a second ahead, which is the time between two drains.
local AHEAD_MS = 1000
local slot = rate > 0 and next_slot(now, rate) or nil
if slot and slot - now >= AHEAD_MS then return nil end

local function take_place()
  work_when_full()
  if slot then take_slot(slot, rate) end
end

local sizes = {}
for at = 10, #ARGV, 3 do sizes[ARGV[at]] = tonumber(ARGV[at + 1]) end

-- What is due: a list of {id, batch} to send as one now, or nil; and a list that may be sent when
-- nothing else is ready, or nil.
-- Remainders are small: of a thousand records an answer may leave three to send again. They let
-- full batches go first, for at most `max_wait`, and gather: those of one unordered kind and the
-- same attempt make one request. A batch that failed as a whole, was halved, or lost its worker is
-- sent as it is, so that no other record is drawn into its trouble.
local function find_due()
  local most = 50 -- enough to keep small requests rare, and few enough to look at each time
  local found = redis.call('ZRANGEBYSCORE', base .. ':retries', '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  local groups, now_due, later = {}, nil, nil
  for at = 1, #found, 2 do
    local due_id, waited = found[at], now - found[at + 1]
    local batch = load_batch(due_id)
    local size = sizes[batch.kind] or 0
    if not batch.remainder or batch.parts or batch.deaths > 0 or batch.size >= size then
      return now_due or {{due_id, batch}}
    end
    local name = batch.kind .. batch.attempt
    local group = groups[name] or {total = 0}
    groups[name], later = group, later or group
    if group.total + batch.size <= size then
      group[#group + 1], group.total = {due_id, batch}, group.total + batch.size
    else
      now_due = now_due or group
    end
    if waited >= max_wait_ms or group.total == size then now_due = now_due or group end
  end
  return now_due or (#found == 2 * most and later or nil), later
end

local function send_again(group)
  take_place()
  local first, batch = group[1][1], group[1][2]
  local list = base .. ':batch:' .. first
  local bytes = redis.call('MEMORY', 'USAGE', list, 'SAMPLES', 0)
  for at = 2, #group do
    local other, its = group[at][1], base .. ':batch:' .. group[at][1]
    bytes = bytes + redis.call('MEMORY', 'USAGE', its, 'SAMPLES', 0)
    if bytes > max_bytes then break end
    push(list, redis.call('LRANGE', its, 0, -1), 1, group[at][2].size)
    batch.size = batch.size + group[at][2].size
    batch.first = math.min(batch.first, group[at][2].first)
    redis.call('DEL', its)
    redis.call('HDEL', base .. ':batches', other)
    redis.call('ZREM', base .. ':retries', other)
  end
  redis.call('ZREM', base .. ':retries', first)
  batch.slot = slot
  batch.alone = batch.failed and taken_at(batch.kind) > batch.failed
  lease(first, batch, token, lease_ms, begun, now)
  return describe(first, batch)
end

local due, later = find_due()
if due then return send_again(due) end

local function accepted_at(record) return tonumber(record:sub(1, 12), 16) end

-- The partitions of an ordered kind that may be claimed from: those of the oldest layout that is
-- not yet empty, so that a changed number of partitions lets nobody overtake.
local function open_partitions(kind)
  local known = places_to_wait(kind)
  for at, layout in ipairs(known) do
    local open, held, busy = {}, 0, false
    for partition = layout[1], layout[1] + layout[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      local first = redis.call('LINDEX', hold_key(kind, partition), 0)
      if first then
        busy = true
        local deadline = tonumber(redis.call('ZSCORE', base .. ':leases', first) or 0)
        if now - (deadline - lease_ms) < max_wait_ms then held = held + size end
      elseif size > 0 then
        open[#open + 1] = {partition, size}
      end
    end
    if #open > 0 or busy or at == #known then return open, held end
    if not layout.unlisted then
      work_when_full()
      redis.call('LPOP', base .. ':layout:' .. kind)
    end
  end
  return {}, 0
end

-- All partitions of an unordered kind that hold records: one, unless it was ordered before.
local function filled_partitions(kind)
  local filled = {}
  for _, layout in ipairs(places_to_wait(kind)) do
    for partition = layout[1], layout[1] + layout[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      if size > 0 then filled[#filled + 1] = {partition, size} end
    end
  end
  return filled
end

-- What is ready of one kind: a list of {partition, records}, oldest first, or nil. A full batch
-- is ready at once. Less is ready when its oldest record has waited long enough, unless requests
-- that have only just begun will free enough records of the same kind to fill the batch.
local function ready(kind, size, ordered)
  local open, held
  if ordered then
    open, held = open_partitions(kind)
  else
    open, held = filled_partitions(kind), 0
  end
  local total, oldest = 0, math.huge
  for _, part in ipairs(open) do
    part[3] = accepted_at(redis.call('LINDEX', pending_key(kind, part[1]), 0))
    total, oldest = total + part[2], math.min(oldest, part[3])
  end
  if total == 0 then return nil end
  -- The age is by the producer's clock, and may be wrong either way: no record waits for a wrong
  -- clock. What seems to come from beyond `max_wait` in the future is taken at once, too.
  local young = math.abs(now - oldest) < max_wait_ms
  if total < size and (young or total + held >= size) then return nil end
  table.sort(open, function(a, b) return a[3] < b[3] end)
  return open
end

-- Move the first of a list into the new batch's, without a look at them: Redis copies a thousand in
-- 0.2 ms, where loading them into Lua and pushing them takes 0.8, and writes them to the append-only
-- file once more. Returns their number and at least their bytes, or nil when that is too much.
local function move(pending, list, most)
  redis.call('SORT', pending, 'BY', 'nosort', 'LIMIT', 0, most, 'STORE', list)
  local bytes = redis.call('MEMORY', 'USAGE', list, 'SAMPLES', 0)
  if bytes > max_bytes then
    redis.call('DEL', list)
    return nil
  end
  local moved = redis.call('LLEN', list)
  redis.call('LTRIM', pending, moved, -1)
  return moved, bytes
end

-- The same, record by record, behind those that are in the batch already: their number, the bytes
-- of the batch, and whether it is full.
local function move_fitting(pending, list, most, taken, bytes)
  local records, fitting, full = redis.call('LRANGE', pending, 0, most - 1), 0, false
  for _, record in ipairs(records) do
    if bytes + #record > max_bytes and taken + fitting > 0 then full = true break end
    bytes, fitting = bytes + #record, fitting + 1
  end
  redis.call('LTRIM', pending, fitting, -1)
  push(list, records, 1, fitting)
  return fitting, bytes, full
end

-- Move up to `size` records, and at most `max_bytes` (but always one), into the new batch.
local function take(kind, size, ordered, open)
  local list = base .. ':batch:' .. id
  local taken, bytes, parts = 0, 0, {}
  for _, part in ipairs(open) do
    local pending = pending_key(kind, part[1])
    local moved, now_bytes, full
    if taken == 0 then moved, now_bytes = move(pending, list, size) end
    if not moved then
      moved, now_bytes, full = move_fitting(pending, list, size - taken, taken, bytes)
    end
    if moved > 0 then
      taken, bytes = taken + moved, now_bytes
      parts[#parts + 1] = {part[1], moved}
      if ordered then redis.call('RPUSH', hold_key(kind, part[1]), id) end
    end
    if full or taken >= size then break end
  end
  local batch = {kind = kind, size = taken, attempt = 0, deaths = 0, first = now, error = '',
                 parts = ordered and parts or nil, slot = slot}
  redis.call('HINCRBY', base .. ':state', 'buffered', -taken)
  lease(id, batch, token, lease_ms, begun, now)
  return describe(id, batch)
end

-- Kinds take turns.
local kinds = (#ARGV - 9) / 3
local cursor = tonumber(state[6]) or 0
for turn = 0, kinds - 1 do
  local at = (cursor + turn) % kinds
  local kind, size, ordered = ARGV[10 + at * 3], tonumber(ARGV[11 + at * 3]), ARGV[12 + at * 3] == '1'
  local open = ready(kind, size, ordered)
  if open then
    take_place()
    redis.call('HSET', base .. ':state', 'cursor', (at + 1) % kinds)
    return take(kind, size, ordered, open)
  end
end
return later and send_again(later) or nil
