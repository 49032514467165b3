-- Count a settlement's records and deaths among the last `window` records; pause the destination,
-- and return true, when more than `share` of those died.
local function update_flood_breaker(settled, died, window, share, now)
  local recent, state = KEYS[1] .. ':recent', KEYS[1] .. ':state'
  redis.call('LPUSH', recent, settled .. ':' .. died)
  local total = redis.call('HINCRBY', state, 'recent_total', settled)
  local deaths = redis.call('HINCRBY', state, 'recent_dead', died)
  while true do
    local old_settled, old_died = (redis.call('LINDEX', recent, -1)):match('(%d+):(%d+)')
    if total - old_settled < window then break end
    redis.call('RPOP', recent)
    total = redis.call('HINCRBY', state, 'recent_total', 0 - old_settled)
    deaths = redis.call('HINCRBY', state, 'recent_dead', 0 - old_died) -- Redis takes no -0
  end
  local status = redis.call('HGET', state, 'status')
  if total < window or deaths <= total * share then return false end
  if status and status ~= 'running' then return false end
  redis.call('HSET', state, 'status', 'paused', 'since', now, 'reason',
             string.format('dead-letter flood: %d of the last %d records died', deaths, total))
  return true
end
