-- Note where the records are, once a minute: what the dashboard's charts are drawn from.
-- KEYS[1]  the destination's base key
-- ARGV     minutes to keep; kinds
-- Returns  1 when this minute was noted, 0 when it was noted before: so any number of processes may
--          ask as often as they like.
--
-- :history is a list, oldest first. An entry is JSON: [minute (epoch), then, over all kinds: the
-- totals accepted, delivered and dead-lettered; records waiting; ms the oldest waited; dead letters]
local minute = math.floor(now_ms() / 60000)
local list = base .. ':history'
local last = redis.call('LINDEX', list, -1)
if last and cjson.decode(last)[1] >= minute then return 0 end
work_when_full()

local waiting, oldest, dead = 0, '', 0
local totals = {accepted = 0, delivered = 0, dead_lettered = 0}
for at = 2, #ARGV do
  local kind = ARGV[at]
  for _, layout in ipairs(places_to_wait(kind)) do
    for partition = layout[1], layout[1] + layout[2] - 1 do
      local size = redis.call('LLEN', pending_key(kind, partition))
      if size > 0 then
        waiting = waiting + size
        local first = redis.call('LINDEX', pending_key(kind, partition), 0):sub(1, 32)
        if oldest == '' or first < oldest then oldest = first end
      end
    end
  end
  dead = dead + redis.call('XLEN', base .. ':dead:' .. kind)
  for name, sum in pairs(totals) do
    totals[name] = sum + (tonumber(redis.call('HGET', base .. ':counters', kind .. ':' .. name)) or 0)
  end
end
for _, id in ipairs(redis.call('HKEYS', base .. ':batches')) do
  waiting = waiting + redis.call('LLEN', base .. ':batch:' .. id)
end

-- A record's id begins with the time of its acceptance, 12 hex digits of epoch ms.
local waited = oldest == '' and 0 or math.max(0, now_ms() - tonumber(oldest:sub(1, 12), 16))
redis.call('RPUSH', list, string.format('[%d,%d,%d,%d,%d,%d,%d]', minute, totals.accepted,
  totals.delivered, totals.dead_lettered, waiting, waited, dead))
redis.call('LTRIM', list, 0 - ARGV[1], -1)
return 1
