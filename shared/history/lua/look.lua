-- Look at the claims of dispatched chunks; one whose lease is over dies here, by Redis' clock. Notes that it did, for readiness.
-- KEYS: meta claims
-- ARGV: applied token run_id chunk…
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token', 'ready')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] or guard[3] ~= run_id then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'looked', string.format('%d', now))
local answer = {}
for index = 4, #ARGV do
  local claim = redis.call('HGET', KEYS[2], ARGV[index])
  local word = 'absent'
  if claim then
    word = string.match(claim, '^%a+')
    if word == 'held' and tonumber(string.match(claim, '%d+$')) <= now then
      word = 'dead'
      redis.call('HSET', KEYS[2], ARGV[index], 'dead ' .. string.match(claim, '^held (%S+ %S+)'))
    end
  end
  answer[#answer + 1] = word
end
return answer
