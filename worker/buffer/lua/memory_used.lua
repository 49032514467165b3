-- Return how full Redis is.
-- KEYS[1]  the destination's base key
-- ARGV     none
-- Returns  the share of its memory in use, in thousandths; 0 when it has no limit
-- needs: memory_used
return math.floor(memory_used() * 1000)
