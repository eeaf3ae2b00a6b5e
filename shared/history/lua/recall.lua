-- Read subjects that the owner does not hold, only if nothing moved underneath.
-- KEYS: meta states bitmaps
-- ARGV: applied token run_id (the guard) subject…
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return false end
local answer = {}
for index = 4, #ARGV do
  answer[#answer + 1] = redis.call('HGET', KEYS[2], ARGV[index])
  answer[#answer + 1] = redis.call('HGET', KEYS[3], ARGV[index])
end
return answer
