-- Throw dead letters of one kind away, counted.
-- KEYS[1]  the destination's base key
-- ARGV     kind; stream ids
-- Returns  the number thrown away
work_when_full()
local purged = redis.call('XDEL', base .. ':dead:' .. ARGV[1], unpack(ARGV, 2))
count(ARGV[1] .. ':purged', purged)
return purged
