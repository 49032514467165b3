-- Write down what an operator did: a line of the dashboard's audit.
-- KEYS[1]  the dashboard's base key
-- ARGV     lines to keep; stream id of the line it stands for, or ''; then fields and their values
-- Returns  the stream id of the line
-- Somebody who makes room in a full Redis leaves a trace too; the lines that are kept are bounded.
work_when_full()
local audit = base .. ':audit'
if ARGV[2] ~= '' then redis.call('XDEL', audit, ARGV[2]) end
return redis.call('XADD', audit, 'MAXLEN', ARGV[1], '*', unpack(ARGV, 3))
