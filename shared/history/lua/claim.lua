-- Take the lease on a chunk. A claim is "held <runner> <run> <lease end>", "dead …" or "done …" and never expires by itself.
-- A run that asks again because the answer was lost has it still (docs/adr/0015).
-- KEYS: meta states specs current claims bitmaps
-- ARGV: job chunk runner run lease_ms first_byte last_byte
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', KEYS[1], 'ready') ~= run_id then return {'not_yet', ''} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'not_yet', ''} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then return {'leave', ''} end
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
return {'held', string.sub(bits, ARGV[6] + 1, ARGV[7] + 1), mark}
