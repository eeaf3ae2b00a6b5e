-- Open the gate, only if nothing moved underneath. While it was closed, heartbeats may have re-created claims on chunks that
-- were finished or replaced; from now on such runs are told to stop whether the claim is there or not, so it is not kept.
-- KEYS: meta current claims
-- ARGV: applied token run_id
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'ready', run_id, 'looked', string.format('%d', now))
for _, chunk in ipairs(redis.call('HKEYS', KEYS[3])) do
  if redis.call('HEXISTS', KEYS[2], chunk) == 0 then redis.call('HDEL', KEYS[3], chunk) end
end
return 1
