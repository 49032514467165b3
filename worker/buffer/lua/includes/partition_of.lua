-- The partition of an ordered record, by its identity's hash: the one at `position` (from 1) in
-- `hashes`.
local function partition_of(range, hashes, position)
  return range[1] + struct.unpack('>I4', hashes, position * 4 - 3) % range[2]
end
