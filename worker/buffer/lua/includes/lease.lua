-- Lease a batch; `begun` says that the caller sends it now, or when its slot has come.
-- needs: save_batch
local function lease(id, batch, token, lease_ms, begun, now)
  batch.token, batch.begun = token, begun and now or 0
  save_batch(id, batch)
  local sent = begun and math.max(now, batch.slot or 0) or now
  redis.call('ZADD', KEYS[1] .. ':leases', sent + lease_ms, id)
end
