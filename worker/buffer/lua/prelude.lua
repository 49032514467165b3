-- Stands before every script of this folder: the parts of a destination's state that several
-- operations share. Not an operation itself.
--
-- KEYS[1] is, in every script, the destination's base key, `ingest:{name}`. The other keys are
-- made from it here; they share its hash tag, so all of them live in one cluster slot. KEYS[2] is
-- `:nothing`. Neither of the two ever exists: so while a cluster moves the slot, one half of whose
-- keys may be here and the other there, Redis refuses a script before it begins (the old node says
-- ASK, and the new one TRYAGAIN, as it does for several keys of which one is missing).
--   :pending:<kind>:<partition>  list    accepted records, oldest first
--   :batch:<id>                  list    the records of a claimed batch
--   :batches                     hash    batch id -> what is known of it (JSON, see `open_batch`)
--   :leases                      zset    batch ids in flight, by lease deadline (epoch ms)
--   :retries                     zset    batch ids waiting, by the time they are due (epoch ms)
--   :hold:<kind>:<partition>     list    ordered kinds: batches out of this partition, in order
--   :layout:<kind>               list    ordered kinds: "<first partition>:<count>", oldest first
--   :dead:<kind>                 stream  dead letters
--   :counters                    hash    totals
--   :tally:<yyyymmdd>            hash    delivered records by event name, for reconcile
--   :reconciled:<yyyymmdd>       string  that day's last reconciliation (no script uses it)
--   :state                       hash    running / paused / parked, concurrency, back-off
--   :recent                      list    "<records>:<deaths>" of the last settlements
--   :journal                     stream  the last settlements, for trace
--   :history                     list    a sample a minute, for charts
--
-- The dashboard's own scripts get `ingest:{:dashboard}` instead, which is no destination's:
--   :audit                       stream  what operators did
--   :secret                      string  what sessions are signed by (no script uses it)
--   :ended:<session>             string  a session that was ended before its time
--   :tries:<address>             string  tries to sign in from there, hashed
local base = KEYS[1]

-- One clock for all machines, in epoch milliseconds.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Redis refuses commands that may need memory when it is full, but only as long as a script has
-- written nothing (src/script.c, scriptVerifyOOM; the same in 6.2). Operations that move records
-- out must go on when memory is full, so they begin with a write that needs none.
local function work_when_full()
  redis.call('DEL', base .. ':nothing')
end

-- The share of Redis' memory in use (0..1); 0 when it has no limit. It costs some 20 us.
local function memory_used()
  local info = redis.call('INFO', 'memory')
  local most = tonumber(info:match('maxmemory:(%d+)')) or 0
  return most > 0 and tonumber(info:match('used_memory:(%d+)')) / most or 0
end

-- Above this share producers are refused, before Redis refuses everybody, the broker on it
-- included; what is left is for its messages, the dead letters and the copies that a claim makes.
local FULL = 0.9

-- Note what was seen of the memory ('1' when it is full, else '0'), and for how long that holds.
local function note_memory(full, now, holds_ms)
  redis.call('HSET', base .. ':state', 'memory_full', full, 'memory_seen_until', now + holds_ms)
end

-- Whether a producer with so many records is to be refused, by the `memory_full` and
-- `memory_seen_until` of the state. Ticks watch the memory; where none came for long no worker runs,
-- and producers look themselves: those with a few records at most ten times a second. For many
-- records a look costs nothing, and in a tenth of a second they could fill what is left.
-- That there is room may be noted at once: the note needs some of it.
local function memory_is_full(flag, seen_until, records)
  local now, HOLDS_MS, FEW = now_ms(), 100, 10
  local needed_until = records > FEW and now + HOLDS_MS or now
  if seen_until and needed_until < tonumber(seen_until) then return flag == '1' end
  if memory_used() > FULL then return true end
  note_memory('0', now, HOLDS_MS)
  return false
end

local function count(field, by)
  if by ~= 0 then redis.call('HINCRBY', base .. ':counters', field, by) end
end

-- Records that died of one cause: the vendor's code, or our reason. A vendor that numbers its
-- failures would fill the hash, every status and every scrape: when it has so many fields (some 150
-- are ours), causes that are new are counted as one.
local MOST_FIELDS = 500

local function count_cause(kind, cause)
  local field, key = kind .. ':code:' .. cause, base .. ':counters'
  if redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= MOST_FIELDS then
    field = kind .. ':code:other'
  end
  count(field, 1)
end

-- One request that was made: its answer, the records in it, ms it took; the bounds are the names of
-- the buckets that its time ('' when that is not known) and its size fall into: see histograms.py.
local function count_request(kind, label, size, took_ms, took_bound, size_bound)
  count(kind .. ':attempts', 1)
  count('answer:' .. label, 1)
  count(kind .. ':size', size)
  count(kind .. ':size:' .. size_bound, 1)
  if took_bound ~= '' then
    count(kind .. ':took_ms', took_ms)
    count(kind .. ':took:' .. took_bound, 1)
  end
end

-- Lua's stack bounds how many arguments a command can be given at once.
local function push(list, records, first, last)
  for from = first, last, 4000 do
    redis.call('RPUSH', list, unpack(records, from, math.min(from + 3999, last)))
  end
end

-- A batch: {kind, size, attempt, deaths, first (epoch ms of the first claim, or of when it had
-- waited for another of its partition), begun (epoch ms, 0 before a worker began it), token, error,
-- due, parts, slot, remainder}. `parts`, of ordered kinds only, lists {partition, size} in the order
-- of the records; `slot`, of destinations with a limit of requests per second only, is when it may
-- be sent (epoch ms); `remainder` tells that the last answer named these records and settled the
-- others; `failed` is when the vendor last took none of it (epoch ms; none once it took some), and
-- `alone` tells that the vendor took others of its kind between that and the claim.
local function load_batch(id)
  local raw = redis.call('HGET', base .. ':batches', id)
  return raw and cjson.decode(raw)
end

local function save_batch(id, batch)
  redis.call('HSET', base .. ':batches', id, cjson.encode(batch))
end

-- When the vendor last took a record of this kind (epoch ms).
local function taken_at(kind)
  return tonumber(redis.call('HGET', base .. ':state', 'taken_at:' .. kind) or 0)
end

local function hold_key(kind, partition)
  return base .. ':hold:' .. kind .. ':' .. string.format('%d', partition)
end

local function pending_key(kind, partition)
  return base .. ':pending:' .. kind .. ':' .. string.format('%d', partition)
end

-- An ordered batch may be sent only when it is the first out of each of its partitions.
local function is_first(id, batch)
  for _, part in ipairs(batch.parts or {}) do
    if redis.call('LINDEX', hold_key(batch.kind, part[1]), 0) ~= id then return false end
  end
  return true
end

-- Let a batch wait until `due`; one that is not first is scheduled when it becomes first.
local function schedule(id, batch, due)
  batch.due, batch.begun, batch.token = due, 0, ''
  save_batch(id, batch)
  if is_first(id, batch) then redis.call('ZADD', base .. ':retries', due, id) end
end

-- Take a batch out of a partition's queue, and schedule the one whose turn it is now. That one
-- waited, perhaps for a day, and did not fail: its age, which lets batches expire, begins here.
local function leave(id, kind, partition)
  local hold = hold_key(kind, partition)
  redis.call('LREM', hold, 1, id)
  local following = redis.call('LINDEX', hold, 0)
  if following and following ~= id then
    local batch = load_batch(following)
    if batch.token == '' and is_first(following, batch) then
      batch.first = now_ms()
      save_batch(following, batch)
      redis.call('ZADD', base .. ':retries', batch.due, following)
    end
  end
end

-- Lease a batch: `begun` tells that the caller sends it now, or when its slot has come.
local function lease(id, batch, token, lease_ms, begun, now)
  batch.token, batch.begun = token, begun and now or 0
  save_batch(id, batch)
  local sent = begun and math.max(now, batch.slot or 0) or now
  redis.call('ZADD', base .. ':leases', sent + lease_ms, id)
end

-- What a worker is given of a batch; it reads the records from the batch's list.
local function describe(id, batch)
  return {id, cjson.encode(batch)}
end

-- Requests per second, over all processes: each request has a slot. Slots are 1/rate apart, and
-- 5 % more: no second holds more than `rate` of them even when some take up to 50 ms longer on
-- their way than others. Unused slots are not made up for.
local LOOSER, LATE_MS = 1.05, 50

-- Claims look a second ahead, and each that a worker begins late takes one slot more. What is farther
-- ahead was given out by a clock that was ahead of this one: another master's, before a fail-over.
local function is_of_another_clock(slot, now, rate)
  return slot - now > 1000 + 1000 * LOOSER / rate * (redis.call('ZCARD', base .. ':leases') + 2)
end

local function next_slot(now, rate)
  local at = tonumber(redis.call('HGET', base .. ':state', 'rate_at')) or 0
  return is_of_another_clock(at, now, rate) and now or math.max(now, at)
end

local function take_slot(slot, rate)
  redis.call('HSET', base .. ':state', 'rate_at', slot + 1000 * LOOSER / rate)
end

-- The layouts of an ordered kind, oldest first, as {first partition, count}.
local function layouts(kind)
  local found = {}
  for _, entry in ipairs(redis.call('LRANGE', base .. ':layout:' .. kind, 0, -1)) do
    local first, partitions = entry:match('(%d+):(%d+)')
    found[#found + 1] = {tonumber(first), tonumber(partitions)}
  end
  return found
end

-- The same, with partition 0 in front where none has it: records wait there that were accepted while
-- the kind was unordered, by its settings then or by a producer's that are older or newer than ours.
local function places_to_wait(kind)
  local found = layouts(kind)
  if not found[1] or found[1][1] ~= 0 then table.insert(found, 1, {0, 1, unlisted = true}) end
  return found
end

-- The layout that new records of an ordered kind go by; the first ones begin it.
local function begun_layout(kind, partitions)
  local known = layouts(kind)
  if #known == 0 then
    redis.call('RPUSH', base .. ':layout:' .. kind, '0:' .. partitions)
    return {0, tonumber(partitions)}
  end
  return known[#known]
end

-- The partition where an ordered record is to wait: by its identity's hash, in the newest layout.
local function partition_of(layout, hashes, position)
  return layout[1] + struct.unpack('>I4', hashes, position * 4 - 3) % layout[2]
end
