-- Begin to own: write a fresh load token and read everything.
-- KEYS: meta states bitmaps claims
-- ARGV: token
-- `looks` says that the owner with this token notes when it looks at claims; earlier releases do not.
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'looks', ARGV[1])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local meta = redis.call('HMGET', KEYS[1], 'applied', 'ready', 'last')
return {
  run_id, meta[1], meta[2], meta[3],
  redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4]),
}
