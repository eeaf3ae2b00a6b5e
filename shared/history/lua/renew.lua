-- Extend a lease, or say why the run must be killed. An absent claim is taken again: after a wipe heartbeats re-create it.
-- Another job of the same id may have a chunk of the same name in its plan; then the mark differs, and the run is not of that
-- job. Earlier releases wrote the id in place of the mark: it is taken for every mark.
-- KEYS: meta states specs current claims
-- ARGV: job chunk runner run lease_ms mark
local known = redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1
if known and redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then return 'job_ended' end
local claim = redis.call('HGET', KEYS[5], ARGV[2])
if claim and string.sub(claim, 1, #ARGV[3] + #ARGV[4] + 7) ~= 'held ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' then
  return 'claim_lost'
end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local mark = redis.call('HGET', KEYS[4], ARGV[2])
if not mark and redis.call('HGET', KEYS[1], 'ready') == run_id then return 'not_current' end
if mark and mark ~= ARGV[6] and mark ~= ARGV[1] and ARGV[6] ~= ARGV[1] then return 'not_current' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%d', now + ARGV[5])
redis.call('HSET', KEYS[5], ARGV[2], table.concat({'held', ARGV[3], ARGV[4], lease_end}, ' '))
return 'held'
