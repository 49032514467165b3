-- Back off with full jitter, as `backoff` in connections/backoff.py does: `random` is in [0, 1).
local function backoff_ms(attempt, base_ms, cap_ms, random)
  return random * math.min(cap_ms, base_ms * 2 ^ math.min(attempt, 30))
end
