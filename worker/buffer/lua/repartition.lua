-- Let new records of an ordered kind wait in another number of partitions.
-- KEYS[1]  the destination's base key
-- ARGV     kind; number of partitions
-- Returns  1 when the number changed, else 0
-- New partitions get new names; `claim` empties the old ones first, so that nobody overtakes.
local known = layouts(ARGV[1])
local newest = known[#known]
if newest and newest[2] == tonumber(ARGV[2]) then return 0 end
local first = newest and newest[1] + newest[2] or 0
work_when_full() -- a worker must be able to start
redis.call('RPUSH', base .. ':layout:' .. ARGV[1], string.format('%d:%s', first, ARGV[2]))
return newest and 1 or 0
