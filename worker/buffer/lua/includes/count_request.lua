-- Count a request: its answer, the records in it, the ms it took. The bounds name the buckets that
-- its time ('' when that is not known) and its size fall into: see status.py.
-- needs: count
local function count_request(kind, label, size, took_ms, took_bound, size_bound)
  count(kind .. ':attempts', 1)
  count('answer:' .. label, 1)
  count(kind .. ':size', size)
  count(kind .. ':size:' .. size_bound, 1)
  if took_bound ~= '' then
    count(kind .. ':took_ms', took_ms)
    count(kind .. ':took:' .. took_bound, 1)
  end
end
