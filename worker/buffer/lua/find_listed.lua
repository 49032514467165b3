-- Look for a record in one list: a partition of the buffer, or a batch.
-- KEYS[1]  the destination's base key
-- ARGV[1]  the list, without the base key
-- ARGV[2]  the record's id, 32 hex digits
-- ARGV[3]  how many to look at
-- ARGV[4]  how many at the list's end were looked at before, or 'guess' to look where the id
--          belongs in a list that is sorted by id
-- Returns  {position from 1 at the head, or 0; '1' when this look reached the head}
-- Records leave a list at its head and come in at its end, so a search that goes on from the end
-- towards the head misses none, however much is taken and added between the looks.
local list, id, most = KEYS[1] .. ':' .. ARGV[1], ARGV[2], tonumber(ARGV[3])
local size = redis.call('LLEN', list)

local function id_at(index) return redis.call('LINDEX', list, index):sub(1, 32) end

local last -- index from 0, inclusive
if ARGV[4] == 'guess' then
  local low, high = 0, size -- the first index with an id not below ours lies in [low, high]
  while low < high do
    local middle = math.floor((low + high) / 2)
    if id_at(middle) < id then low = middle + 1 else high = middle end
  end
  last = math.min(size, low + math.floor(most / 2)) - 1
else
  last = size - tonumber(ARGV[4]) - 1
end
if last < 0 then return {0, '1'} end
local first = math.max(0, last - most + 1)
for at, record in ipairs(redis.call('LRANGE', list, first, last)) do
  if record:sub(1, 32) == id then return {first + at, '0'} end
end
return {0, first == 0 and '1' or '0'}
