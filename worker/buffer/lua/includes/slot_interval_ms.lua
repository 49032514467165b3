-- The ms between two slots of a destination with a limit of requests per second: 1/rate and 5 %
-- more, so that no second holds more than `rate` even when some take up to 50 ms longer on their
-- way.
local function slot_interval_ms(rate)
  return 1000 * 1.05 / rate
end
