-- Return when the next request may be sent, over all processes. Unused slots are not made up for.
-- needs: is_from_another_clock
local function next_slot(now, rate)
  local at = tonumber(redis.call('HGET', KEYS[1] .. ':state', 'rate_at')) or 0
  return is_from_another_clock(at, now, rate) and now or math.max(now, at)
end
