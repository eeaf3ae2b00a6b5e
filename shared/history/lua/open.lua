-- Open the gate, only if nothing moved underneath.
-- KEYS: meta
-- ARGV: applied token run_id
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'ready', run_id)
return 1
