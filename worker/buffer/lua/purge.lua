-- Delete dead letters of one kind, counted.
-- KEYS[1]  the destination's base key
-- ARGV[1]  kind
-- ARGV[2...]  stream ids
-- Returns  the number deleted
-- needs: bypass_maxmemory_check, count
bypass_maxmemory_check()
local purged = redis.call('XDEL', KEYS[1] .. ':dead:' .. ARGV[1], unpack(ARGV, 2))
count(ARGV[1] .. ':purged', purged)
return purged
