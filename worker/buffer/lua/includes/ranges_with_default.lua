-- The partition_ranges, with partition 0 in front if no range has it: it holds the records that were
-- accepted while the kind was unordered, by its settings then or by those of a producer of another
-- version.
-- needs: partition_ranges
local function ranges_with_default(kind)
  local found = partition_ranges(kind)
  if not found[1] or found[1][1] ~= 0 then table.insert(found, 1, {0, 1, unlisted = true}) end
  return found
end
