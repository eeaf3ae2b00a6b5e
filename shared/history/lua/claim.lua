-- Take the lease on a chunk. A claim is "held <runner> <run> <lease end>", "dead …" or "done …" and never expires by itself.
-- A run that asks again because the answer was lost has it still (docs/adr/0015).
-- A specification of at most so many bytes, and its annex, are given with the claim, so that they are not asked for again.
-- KEYS: meta states specs current claims bitmaps
-- ARGV: job chunk runner run lease_ms first_byte last_byte annex_field spec_bytes
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', KEYS[1], 'ready') ~= run_id then return {'not_yet', ''} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'not_yet', ''} end
local spec_bytes = redis.call('HSTRLEN', KEYS[3], ARGV[1])
if spec_bytes == 0 then return {'leave', ''} end
local mark = redis.call('HGET', KEYS[4], ARGV[2])
if not mark then return {'leave', ''} end
local claim = redis.call('HGET', KEYS[5], ARGV[2])
if claim and string.sub(claim, 1, #ARGV[3] + #ARGV[4] + 7) ~= 'held ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' then
  return {'leave', ''}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%d', now + ARGV[5])
redis.call('HSET', KEYS[5], ARGV[2], table.concat({'held', ARGV[3], ARGV[4], lease_end}, ' '))
local bits = redis.call('HGET', KEYS[6], ARGV[1]) or ''
local answer = {'held', string.sub(bits, ARGV[6] + 1, ARGV[7] + 1), mark}
if spec_bytes <= tonumber(ARGV[9]) then
  local spec = redis.call('HMGET', KEYS[3], ARGV[1], ARGV[8])
  answer[4], answer[5] = spec[1], spec[2]
end
return answer
