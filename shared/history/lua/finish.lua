-- Mark a claim done, if it is still this run's; the owner removes it once it has folded the results.
-- KEYS: claims
-- ARGV: chunk runner run
local claim = redis.call('HGET', KEYS[1], ARGV[1])
if claim and string.sub(claim, 1, #ARGV[2] + #ARGV[3] + 7) == 'held ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' then
  redis.call('HSET', KEYS[1], ARGV[1], table.concat({'done', ARGV[2], ARGV[3]}, ' '))
  return 1
end
return 0
