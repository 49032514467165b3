-- End a session of the dashboard before its time.
-- KEYS[1]  the dashboard's base key
-- ARGV[1]  the session's id
-- ARGV[2]  seconds until it would end on its own
-- Returns  nothing
-- needs: bypass_maxmemory_check
-- Signing out works in a full Redis too.
bypass_maxmemory_check()
redis.call('SET', KEYS[1] .. ':ended:' .. ARGV[1], 1, 'EX', ARGV[2])
