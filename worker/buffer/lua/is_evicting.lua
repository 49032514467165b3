-- Return whether Redis evicts records when it is full, instead of refusing more.
-- KEYS[1]  the destination's base key
-- ARGV     none
-- Returns  1 when its policy is to evict any key, else 0: volatile ones spare keys without a TTL
return redis.call('INFO', 'memory'):find('maxmemory_policy:allkeys', 1, true) and 1 or 0
