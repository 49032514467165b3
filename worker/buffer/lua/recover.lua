-- Return batches with expired leases to waiting, at the head of those that are due.
-- KEYS[1]  the destination's base key
-- ARGV[1]  '1' to take back also the leases that still run but that no worker has begun
-- Returns  {batches no worker had begun, batches a worker had begun, records of the latter}
-- needs: now_ms, load_batch, count, schedule, bypass_maxmemory_check
-- A batch that no worker had begun lost nothing but time. One that was begun has lost its worker:
-- that is counted as a death, and its records as ambiguous, because they may have been sent.
local leases, now = KEYS[1] .. ':leases', now_ms()
local unbegun, died, records = 0, 0, 0

local function take_back(id)
  local batch = load_batch(id)
  redis.call('ZREM', leases, id)
  if batch.begun == 0 then
    unbegun = unbegun + 1
  else
    died, records = died + 1, records + batch.size
    batch.deaths, batch.error = batch.deaths + 1, 'the worker did not come back'
    count(batch.kind .. ':ambiguous', batch.size)
    count(batch.kind .. ':attempts', 1)
    count('answer:worker_lost', 1)
  end
  schedule(id, batch, batch.first)
end

local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1000)
local running = {}
if ARGV[1] == '1' then
  running = redis.call('ZRANGEBYSCORE', leases, '(' .. now, '+inf')
end
if #expired + #running > 0 then bypass_maxmemory_check() end
for _, id in ipairs(expired) do take_back(id) end
-- Those that ran out before a worker began; not those that are given back early, below.
count('lease:waiting', unbegun)
count('lease:begun', died)
for _, id in ipairs(running) do
  if load_batch(id).begun == 0 then take_back(id) end
end
return {unbegun, died, records}
