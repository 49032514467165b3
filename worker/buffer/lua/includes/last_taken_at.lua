-- When the vendor last took a record of this kind (epoch ms).
local function last_taken_at(kind)
  return tonumber(redis.call('HGET', KEYS[1] .. ':state', 'taken_at:' .. kind) or 0)
end
