-- Accept the records of several requests into the buffer: of each request all, or none.
-- KEYS[1]  the destination's base key
-- ARGV[1]  the call's token, or '' for a call in the short form: one request of one group, without
--          an idempotency key, that is not repeated
-- ARGV[2]  the most records that may be buffered
-- ARGV[3...]  in the short form: kind, partitions to begin with (ordered kinds), the identity
--          hashes, 4 bytes each, big endian, or '' for an unordered kind, the records; else: ms
--          for which the call's results are kept, ms for which answers are kept, the number of
--          requests; of each request: the hash of its idempotency key or '', its fingerprint (32
--          characters) or '', what to keep as its answer, the number of its groups; and of each
--          group: kind, partitions, hashes, the number of records, the records
-- Returns  for each request, in the short form for the one alone: 1 when its records are buffered
--          now; -1 when the buffer's limit has no room for them, -2 when Redis is nearly full; the
--          kept answer when the key was used before, or -3 when that was with another fingerprint;
--          out of memory raises Redis' own error
-- needs: refuses_producers, push_group, count
-- A call that is repeated with its token changes nothing and returns what the first one did, so a
-- lost answer may be asked for again. The answer to an idempotency key is kept in the same step
-- that accepts the records (`:answer:<hash>`), so they are never accepted twice for one key.
-- All is decided before anything is written, and the first write needs memory, on purpose: with
-- memory full nothing changes.
local base, token, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local done = token ~= '' and redis.call('GET', base .. ':call:' .. token)
if done then return cjson.decode(done) end

local state = redis.call('HMGET', base .. ':state', 'buffered', 'memory_full', 'memory_seen_until')
local buffered = tonumber(state[1]) or 0

-- The short form: a producer waits for each call, and it halves what the script costs.
if token == '' then
  local kind, size = ARGV[3], #ARGV - 5
  if refuses_producers(state[2], state[3], size) then return -2 end
  if buffered + size > limit then return -1 end
  push_group(kind, ARGV[4], ARGV[5], 6, size, {})
  count(kind .. ':accepted', size)
  redis.call('HINCRBY', base .. ':state', 'buffered', size)
  return 1
end

-- A call of one record has 14 arguments; of more it has at least as many more as there are records.
local memory_full = refuses_producers(state[2], state[3], #ARGV - 13)

-- 1. Decide: `groups` are the positions of those to accept.
local results, groups, answers, added = {}, {}, {}, 0
local at = 6
for request = 1, tonumber(ARGV[5]) do
  local hash, fingerprint, answer = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known, size, group = #groups, 0, at + 4
  for each = 1, tonumber(ARGV[at + 3]) do
    groups[known + each] = group
    size = size + tonumber(ARGV[group + 3])
    group = group + 4 + tonumber(ARGV[group + 3])
  end
  at = group
  local kept = hash ~= '' and (answers[hash] or redis.call('GET', base .. ':answer:' .. hash))
  if kept then
    results[request] = kept:sub(1, 32) == fingerprint and kept:sub(33) or -3
  elseif size > 0 and memory_full then
    results[request] = -2
  elseif size > 0 and buffered + added + size > limit then
    results[request] = -1
  else
    results[request] = 1
    added = added + size
    if hash ~= '' then answers[hash] = fingerprint .. answer end
  end
  if results[request] ~= 1 then
    for each = #groups, known + 1, -1 do groups[each] = nil end
  end
end

-- 2. Write.
local accepted, ranges = {}, {}
for _, group in ipairs(groups) do
  local kind, size = ARGV[group], tonumber(ARGV[group + 3])
  push_group(kind, ARGV[group + 1], ARGV[group + 2], group + 4, size, ranges)
  accepted[kind] = (accepted[kind] or 0) + size
end
for kind, size in pairs(accepted) do count(kind .. ':accepted', size) end
if added > 0 then redis.call('HINCRBY', base .. ':state', 'buffered', added) end
for hash, answer in pairs(answers) do
  redis.call('SET', base .. ':answer:' .. hash, answer, 'PX', ARGV[4])
end
if added > 0 or next(answers) then
  redis.call('SET', base .. ':call:' .. token, cjson.encode(results), 'PX', ARGV[3])
end
return results
