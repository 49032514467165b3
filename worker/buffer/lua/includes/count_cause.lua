-- Count a dead letter by its cause: the vendor's code, or our reason. A vendor that numbers its
-- failures would fill the hash, every status and every scrape: once it has 500 fields (some 150 are
-- ours), new causes are counted as one.
-- needs: count
local function count_cause(kind, cause)
  local field, key = kind .. ':code:' .. cause, KEYS[1] .. ':counters'
  if redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= 500 then
    field = kind .. ':code:other'
  end
  count(field, 1)
end
