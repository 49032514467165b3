-- Return the batch that was leased under a token, as a reply, or nil. It is looked for in the text,
-- which costs a tenth of decoding each batch in flight.
local function find_leased(token)
  local leased = redis.call('ZRANGE', KEYS[1] .. ':leases', 0, -1)
  if #leased == 0 then return nil end
  for at, raw in ipairs(redis.call('HMGET', KEYS[1] .. ':batches', unpack(leased))) do
    if raw and raw:find(token, 1, true) then return {leased[at], raw} end
  end
end
