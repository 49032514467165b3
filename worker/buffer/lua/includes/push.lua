-- Append records[first..last] to a list, in parts: Lua's stack bounds the arguments of one command.
local function push(list, records, first, last)
  for from = first, last, 4000 do
    redis.call('RPUSH', list, unpack(records, from, math.min(from + 3999, last)))
  end
end
