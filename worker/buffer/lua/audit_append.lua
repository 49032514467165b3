-- Append what an operator did to the dashboard's audit log.
-- KEYS[1]  the dashboard's base key
-- ARGV[1]  entries to keep
-- ARGV[2]  stream id of the entry that it replaces, or ''
-- ARGV[3...]  fields and their values
-- Returns  the stream id of the entry
-- needs: bypass_maxmemory_check
-- An operator who makes room in a full Redis leaves a trace too; the entries kept are bounded.
bypass_maxmemory_check()
local audit = KEYS[1] .. ':audit'
if ARGV[2] ~= '' then redis.call('XDEL', audit, ARGV[2]) end
return redis.call('XADD', audit, 'MAXLEN', ARGV[1], '*', unpack(ARGV, 3))
