-- Count a try to sign in to the dashboard.
-- KEYS[1]  the dashboard's base key
-- ARGV     whose try it is; seconds that tries are counted for, from the first one
-- Returns  {tries so far, this one included; seconds until they are forgotten}
-- A full Redis is no reason to keep out who could make room; a try is some hundred bytes.
work_when_full()
local tries = base .. ':tries:' .. ARGV[1]
local count = redis.call('INCR', tries)
if count == 1 then redis.call('EXPIRE', tries, ARGV[2]) end
return {count, redis.call('TTL', tries)}
