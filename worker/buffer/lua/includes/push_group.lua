-- Append records ARGV[first..] of one kind to the buffer; `ranges` keeps the newest range of each
-- ordered kind for the rest of the call.
-- needs: pending_key, newest_range, push, push_ordered
local function push_group(kind, partitions, hashes, first, size, ranges)
  if hashes == '' then
    push(pending_key(kind, 0), ARGV, first, first + size - 1)
  else
    ranges[kind] = ranges[kind] or newest_range(kind, partitions)
    push_ordered(kind, ranges[kind], hashes, first, size)
  end
end
