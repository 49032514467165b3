-- Adapt to a response: how many requests may be in flight (halved on a 429), and how long to hold
-- back.
-- KEYS[1]  the destination's base key
-- ARGV[1]  'success', 'throttled' or 'failure'
-- ARGV[2]  when the request was begun (epoch ms)
-- ARGV[3]  concurrency limit
-- ARGV[4]  concurrency to begin with
-- ARGV[5]  back-off base ms
-- ARGV[6]  back-off cap ms
-- ARGV[7]  a random number in [0, 1)
-- ARGV[8]  ms the vendor asked us to wait, or 0
-- ARGV[9]  successes required between a refusal (429) and the next try above the ceiling it set
-- ARGV[10]  ms required between them
-- Returns  1 when more may be claimed than before, else 0
-- needs: now_ms, bypass_maxmemory_check, backoff_ms
--
-- The concurrency grows by one after as many successes in a row as it allows requests, if that many
-- were in use. A refusal halves it, and sets a ceiling: up to the ceiling it grows back quickly,
-- above it only after many successes, so that less than one request in a hundred is refused in the
-- steady state. Of requests in flight together, only the first failure counts.
-- To be called while the request that was answered still holds its lease.
local base = KEYS[1]
local signal, begun = ARGV[1], tonumber(ARGV[2])
local limit, start = tonumber(ARGV[3]), tonumber(ARGV[4])
local base_ms, cap_ms, random = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local wait_ms = tonumber(ARGV[8])
local patience, patience_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
local now, key = now_ms(), base .. ':state'
local known = redis.call('HMGET', key, 'concurrency', 'ceiling', 'run', 'since_refusal',
                         'refused_at', 'failures', 'failed_at', 'open_at', 'max_bytes',
                         'bytes_run')
local function number(at, otherwise) return tonumber(known[at]) or otherwise end
local concurrency, ceiling = math.min(number(1, start), limit), number(2, limit)
local run, since, refused_at = number(3, 0), number(4, 0), number(5, 0)
local failures, failed_at, open_at = number(6, 0), number(7, 0), number(8, 0)

local function hold_back(attempt)
  open_at = math.max(open_at, now + math.floor(backoff_ms(attempt, base_ms, cap_ms, random)))
end

local under_way = redis.call('ZCARD', base .. ':leases')

if signal == 'success' then
  -- What was sent before the trouble says nothing against holding back. After a single failure any
  -- success clears the back-off, so that an occasional error does not limit the vendor to one
  -- request at a time.
  local single = failures <= 1 and now >= open_at
  if single or begun > math.max(failed_at, refused_at) then failures, open_at = 0, 0 end
  since = since + 1
  -- One may be missing: it is just being settled, or claimed.
  if concurrency < limit and under_way >= concurrency - 1 then
    run = run + 1
    if concurrency < ceiling then
      local steps = ceiling < limit and math.ceil(concurrency / 2) or concurrency
      if run >= steps then concurrency, run = concurrency + 1, 0 end
    elseif since >= patience and now - refused_at >= patience_ms then
      concurrency, run, ceiling = concurrency + 1, 0, limit
    end
  end
elseif signal == 'throttled' then
  if begun > refused_at then
    if concurrency == 1 or under_way == 1 then
      failures = failures + 1
      hold_back(failures - 1)
    end
    ceiling = math.max(1, math.min(concurrency, under_way) - 1)
    concurrency = math.max(1, math.floor(concurrency / 2))
    refused_at, since, run = now, 0, 0
  end
elseif begun > failed_at then
  failures, failed_at, run = failures + 1, now, 0
  if failures > 1 then
    concurrency = math.max(1, math.floor(concurrency / 2))
    hold_back(failures - 2)
  end
end
if wait_ms > 0 then open_at = math.max(open_at, now + wait_ms) end

bypass_maxmemory_check()
redis.call('HSET', key, 'concurrency', concurrency, 'ceiling', ceiling, 'run', run,
           'since_refusal', since, 'refused_at', refused_at, 'failures', failures,
           'failed_at', failed_at, 'open_at', open_at)
-- The limit of bytes that a 413 set may be temporary: a run of successes doubles it. At worst one
-- request in thirty is refused and halved.
if signal == 'success' and known[9] then
  local BYTES_RUN = 30
  if number(10, 0) + 1 < BYTES_RUN then
    redis.call('HINCRBY', key, 'bytes_run', 1)
  else
    redis.call('HSET', key, 'max_bytes', number(9) * 2, 'bytes_run', 0)
  end
end
local wider = concurrency > number(1, start) or number(6, 0) > failures
return wider and 1 or 0
