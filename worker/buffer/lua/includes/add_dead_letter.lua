-- Put a record that died of a verdict {outcome, reason, code, error} among the dead letters,
-- counted.
-- needs: count_cause
local function add_dead_letter(kind, record, verdict, attempts)
  -- One record was too large, and not the batches it was in.
  if verdict[2] == 'too_large' then redis.call('HDEL', KEYS[1] .. ':state', 'max_bytes') end
  redis.call('XADD', KEYS[1] .. ':dead:' .. kind, '*', 'record', record, 'reason', verdict[2],
             'code', verdict[3], 'error', verdict[4], 'attempts', attempts)
  count_cause(kind, verdict[3] ~= '' and verdict[3] or verdict[2])
end
