-- How long nobody has ticked, by Redis' clock.
-- KEYS[1]  the destination's base key
-- ARGV     none
-- Returns  ms since the last tick, or nil when there never was one
local ticked_at = redis.call('HGET', base .. ':state', 'ticked_at')
return ticked_at and now_ms() - ticked_at
