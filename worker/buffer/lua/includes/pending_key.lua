-- The list of accepted records of one partition.
local function pending_key(kind, partition)
  return KEYS[1] .. ':pending:' .. kind .. ':' .. string.format('%d', partition)
end
