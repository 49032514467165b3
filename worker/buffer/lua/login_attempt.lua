-- Count an attempt to sign in to the dashboard.
-- KEYS[1]  the dashboard's base key
-- ARGV[1]  the client that attempts it
-- ARGV[2]  seconds for which attempts are counted, from the first one
-- Returns  {attempts so far, this one included; seconds until they are forgotten}
-- needs: bypass_maxmemory_check
-- A full Redis must not keep out the operator who could make room; an attempt is some 100 bytes.
bypass_maxmemory_check()
local tries = KEYS[1] .. ':tries:' .. ARGV[1]
local count = redis.call('INCR', tries)
if count == 1 then redis.call('EXPIRE', tries, ARGV[2]) end
return {count, redis.call('TTL', tries)}
