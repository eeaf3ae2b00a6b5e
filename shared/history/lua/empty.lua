-- Forget a partition whose `applied` does not fit the log.
-- KEYS: meta states specs bitmaps current claims live settled measurements
-- ARGV: applied token
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] then return 0 end
redis.call('DEL', unpack(KEYS))
return 1
