-- Return whether to refuse a producer with that many records, by the state's `memory_full` and
-- `memory_seen_until`. Ticks check the memory. If none has come for long, no worker runs and
-- producers check it: a call with few records at most ten times a second, one with many each time,
-- because many could fill what is left in a tenth of a second. The result is saved only if there is
-- room: saving needs some.
-- needs: now_ms, is_memory_full, save_memory_state
local function refuses_producers(memory_full, seen_until, records)
  local now, HOLDS_MS, FEW = now_ms(), 100, 10
  local needed_until = records > FEW and now + HOLDS_MS or now
  if seen_until and needed_until < tonumber(seen_until) then return memory_full == '1' end
  if is_memory_full() then return true end
  save_memory_state('0', now, HOLDS_MS)
  return false
end
