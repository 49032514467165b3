-- Take a slot: the next one lies an interval after it.
-- needs: slot_interval_ms
local function reserve_slot(slot, rate)
  redis.call('HSET', KEYS[1] .. ':state', 'rate_at', slot + slot_interval_ms(rate))
end
