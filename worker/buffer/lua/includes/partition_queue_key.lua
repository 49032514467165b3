-- The list of the batches out of one partition, in order: only the first of them may be sent.
local function partition_queue_key(kind, partition)
  return KEYS[1] .. ':hold:' .. kind .. ':' .. string.format('%d', partition)
end
