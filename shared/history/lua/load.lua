-- Begin to own: write a fresh load token and read what is live.
-- KEYS: meta states bitmaps claims live settled
-- ARGV: token
-- `looks` says that the owner with this token notes when it looks at claims; earlier releases do not. They do not keep `live`
-- either: where it is not of this `applied`, everything is read, and the owner writes both lists anew. Without `applied`, too,
-- everything is read: there must be nothing.
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'looks', ARGV[1])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local meta = redis.call('HMGET', KEYS[1], 'applied', 'ready', 'last', 'live')
local knows_live = meta[1] and meta[1] == meta[4]
local states, bitmaps = {}, {}
if knows_live then
  for _, subject in ipairs(redis.call('SMEMBERS', KEYS[5])) do
    for key, found in pairs({[KEYS[2]] = states, [KEYS[3]] = bitmaps}) do
      local value = redis.call('HGET', key, subject)
      if value then
        found[#found + 1] = subject
        found[#found + 1] = value
      end
    end
  end
else
  redis.call('DEL', KEYS[5], KEYS[6])
  states, bitmaps = redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])
end
return {
  run_id, meta[1], meta[2], meta[3], states, bitmaps, redis.call('HGETALL', KEYS[4]), knows_live and 1 or 0,
}
