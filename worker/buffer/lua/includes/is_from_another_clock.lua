-- Return whether a slot was given out by a clock that was ahead of this one: another master's,
-- before a fail-over. Claims look a second ahead, and each that a worker begins late takes one slot
-- more.
-- needs: slot_interval_ms
local function is_from_another_clock(slot, now, rate)
  local leases = redis.call('ZCARD', KEYS[1] .. ':leases')
  return slot - now > 1000 + slot_interval_ms(rate) * (leases + 2)
end
