-- Return how long ago the last drain ran, by Redis' clock.
-- KEYS[1]  the destination's base key
-- ARGV     none
-- Returns  ms since the last tick, or nil when there never was one
-- needs: now_ms
local ticked_at = redis.call('HGET', KEYS[1] .. ':state', 'ticked_at')
return ticked_at and now_ms() - ticked_at
