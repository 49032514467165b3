-- End a session of the dashboard before its time.
-- KEYS[1]  the dashboard's base key
-- ARGV     the session's id; seconds until it would end by itself
-- Returns  nothing
-- Signing out works in a full Redis too: who leaves must not stay in.
work_when_full()
redis.call('SET', base .. ':ended:' .. ARGV[1], 1, 'EX', ARGV[2])
