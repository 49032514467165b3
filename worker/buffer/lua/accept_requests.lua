-- Take the records of several requests into the buffer: of each request all, or none.
-- KEYS[1]  the destination's base key
-- ARGV     the call's token; how long (ms) the call's own result is kept; how long (ms) answers are
--          kept; the most records that may be buffered; the number of requests; then of each
--          request: the hash of its idempotency key or '', its fingerprint (32 characters) or '',
--          what is to be kept as its answer, the number of its groups; and of each group: kind,
--          partitions to begin with, the identity hashes or '' as for `accept`, the number of
--          records, the records
-- Returns  for each request: 1 when its records are buffered now; -1 when the buffer's limit has no
--          room for them, -2 when Redis is nearly full; the kept answer when
--          the key was used before, or -3 when that was with another fingerprint
-- A call that is repeated with its token changes nothing and returns what the first one did: so a
-- lost answer may be asked for again. What a key was answered is kept in the same step that takes
-- the records (`:answer:<hash>`), so they are never taken twice for one key, whoever dies when.
-- All is decided before anything is written, and the first write needs memory, on purpose: with
-- memory full nothing changes.
local call_key = base .. ':call:' .. ARGV[1]
local done = redis.call('GET', call_key)
if done then return cjson.decode(done) end

local limit = tonumber(ARGV[4])
local state = redis.call('HMGET', base .. ':state', 'buffered', 'memory_full', 'memory_seen_until')
local buffered = tonumber(state[1]) or 0
-- A call of one record has 14 arguments; of more it has at least as many more as there are records.
local memory_full = memory_is_full(state[2], state[3], #ARGV - 13)
local results, pending, accepted, answers = {}, {}, {}, {}
local added = 0

local function enter(list, from, size)
  local records = pending[list]
  if not records then
    records = {}
    pending[list] = records
  end
  for position = from, from + size - 1 do records[#records + 1] = ARGV[position] end
end

local function enter_ordered(kind, layout, hashes, from, size)
  for position = 1, size do
    enter(pending_key(kind, partition_of(layout, hashes, position)), from + position - 1, 1)
  end
end

-- Which layouts are to be begun: the first records of an ordered kind decide it.
local begun, fresh = {}, {}
local function newest_layout(kind, partitions)
  if not begun[kind] then
    local known = layouts(kind)
    if #known == 0 then
      known, fresh[kind] = {{0, tonumber(partitions)}}, '0:' .. partitions
    end
    begun[kind] = known[#known]
  end
  return begun[kind]
end

local function enter_group(at)
  local kind, hashes, size = ARGV[at], ARGV[at + 2], tonumber(ARGV[at + 3])
  if hashes == '' then
    enter(pending_key(kind, 0), at + 4, size)
  else
    enter_ordered(kind, newest_layout(kind, ARGV[at + 1]), hashes, at + 4, size)
  end
  accepted[kind] = (accepted[kind] or 0) + size
end

local at = 6
for request = 1, tonumber(ARGV[5]) do
  local hash, fingerprint, answer, groups = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local first, size = at + 4, 0
  at = first
  for _ = 1, tonumber(groups) do
    size = size + tonumber(ARGV[at + 3])
    at = at + 4 + tonumber(ARGV[at + 3])
  end
  local kept = hash ~= '' and (answers[hash] or redis.call('GET', base .. ':answer:' .. hash))
  if kept then
    results[request] = kept:sub(1, 32) == fingerprint and kept:sub(33) or -3
  elseif size > 0 and memory_full then
    results[request] = -2
  elseif size > 0 and buffered + added + size > limit then
    results[request] = -1
  else
    local group = first
    while group < at do
      enter_group(group)
      group = group + 4 + tonumber(ARGV[group + 3])
    end
    if hash ~= '' then answers[hash] = fingerprint .. answer end
    added = added + size
    results[request] = 1
  end
end

for kind, layout in pairs(fresh) do redis.call('RPUSH', base .. ':layout:' .. kind, layout) end
for list, records in pairs(pending) do push(list, records, 1, #records) end
for kind, size in pairs(accepted) do count(kind .. ':accepted', size) end
if added > 0 then redis.call('HINCRBY', base .. ':state', 'buffered', added) end
for hash, answer in pairs(answers) do
  redis.call('SET', base .. ':answer:' .. hash, answer, 'PX', ARGV[3])
end
if added > 0 or next(answers) then
  redis.call('SET', call_key, cjson.encode(results), 'PX', ARGV[2])
end
return results
