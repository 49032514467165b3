-- Note where the records are, once a minute: the dashboard's charts are drawn from it.
-- KEYS[1]  the destination's base key
-- ARGV[1]  minutes to keep
-- ARGV[2...]  kinds
-- Returns  1 when this minute was noted, 0 when it was noted before, so any number of processes may
--          ask at any rate
-- needs: now_ms, bypass_maxmemory_check, count_buffered
--
-- :history is a list, oldest first. An entry is JSON: [minute (epoch), then, over all kinds: the
-- totals accepted, delivered and dead-lettered; records waiting; ms the oldest waited; dead
-- letters]
local base, list, now = KEYS[1], KEYS[1] .. ':history', now_ms()
local minute = math.floor(now / 60000)
local last = redis.call('LINDEX', list, -1)
if last and cjson.decode(last)[1] >= minute then return 0 end
bypass_maxmemory_check()

local waiting, oldest, dead = 0, '', 0
local totals = {accepted = 0, delivered = 0, dead_lettered = 0}
for at = 2, #ARGV do
  local kind = ARGV[at]
  local buffered, first = count_buffered(kind)
  waiting = waiting + buffered
  if first ~= '' and (oldest == '' or first < oldest) then oldest = first end
  dead = dead + redis.call('XLEN', base .. ':dead:' .. kind)
  for name, sum in pairs(totals) do
    local known = redis.call('HGET', base .. ':counters', kind .. ':' .. name)
    totals[name] = sum + (tonumber(known) or 0)
  end
end
for _, id in ipairs(redis.call('HKEYS', base .. ':batches')) do
  waiting = waiting + redis.call('LLEN', base .. ':batch:' .. id)
end

-- A record's id begins with the time of its acceptance, 12 hex digits of epoch ms.
local waited = oldest == '' and 0 or math.max(0, now - tonumber(oldest:sub(1, 12), 16))
redis.call('RPUSH', list, string.format('[%d,%d,%d,%d,%d,%d,%d]', minute, totals.accepted,
  totals.delivered, totals.dead_lettered, waiting, waited, dead))
redis.call('LTRIM', list, 0 - ARGV[1], -1)
return 1
