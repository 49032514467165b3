-- Let new records of an ordered kind wait in another number of partitions.
-- KEYS[1]  the destination's base key
-- ARGV[1]  kind
-- ARGV[2]  number of partitions
-- Returns  1 when the number changed, else 0
-- needs: partition_ranges, bypass_maxmemory_check
-- New partitions get new names; `claim` empties the old ones first, so that no record overtakes.
local known = partition_ranges(ARGV[1])
local newest = known[#known]
if newest and newest[2] == tonumber(ARGV[2]) then return 0 end
local first = newest and newest[1] + newest[2] or 0
bypass_maxmemory_check() -- a worker must be able to start
redis.call('RPUSH', KEYS[1] .. ':layout:' .. ARGV[1], string.format('%d:%s', first, ARGV[2]))
return newest and 1 or 0
