-- Advance, only if nothing moved underneath.
-- KEYS: meta states specs bitmaps current claims live settled measurements
-- ARGV: applied token run_id (the guard) new_applied last is_whole, then lists, each its length and then its elements:
--   states set, states deleted, specs set, specs deleted, bitmaps set, bitmaps deleted, current set, current deleted,
--   claims deleted, live added, settled, measurements ("set" lists alternate field and value, "settled" subject and offset,
--   "measurements" name and value)
-- Chunks come as few texts, a line for each, because an argument each takes a client far longer; "current set" alternates
-- such a text and the mark that all its chunks have.
-- is_whole: '1' if `live` is whole after this; it is not before the last call of an owner that writes it anew.
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return 0 end
local at = 7
local function each(step, act)
  local length = tonumber(ARGV[at])
  for index = at + 1, at + length, step do act(ARGV[index], ARGV[index + 1]) end
  at = at + 1 + length
end
local function delete(key)
  return function(chunks) for chunk in string.gmatch(chunks, '[^\n]+') do redis.call('HDEL', key, chunk) end end
end
for _, key in ipairs({KEYS[2], KEYS[3], KEYS[4]}) do
  each(2, function(field, value) redis.call('HSET', key, field, value) end)
  each(1, function(field) redis.call('HDEL', key, field) end)
end
each(2, function(chunks, mark)
  for chunk in string.gmatch(chunks, '[^\n]+') do redis.call('HSET', KEYS[5], chunk, mark) end
end)
each(1, delete(KEYS[5]))
each(1, delete(KEYS[6]))
each(1, function(subject) redis.call('SADD', KEYS[7], subject) end)
each(2, function(subject, offset)
  redis.call('SREM', KEYS[7], subject)
  redis.call('RPUSH', KEYS[8], offset .. ' ' .. subject)
end)
redis.call('HSET', KEYS[1], 'applied', ARGV[4], 'last', ARGV[5])
if ARGV[6] == '1' then redis.call('HSET', KEYS[1], 'live', ARGV[4]) end
-- Last: if it fails, this batch is applied all the same.
each(2, function(name, value)
  local known = redis.call('HGET', KEYS[9], name)
  local kept = 0
  -- The newest 32 of each name.
  for behind in string.gmatch(known or '', '() ') do
    kept = kept + 1
    if kept == 31 then known = string.sub(known, 1, behind - 1) end
  end
  if not known and redis.call('HLEN', KEYS[9]) >= 1000 then redis.call('HDEL', KEYS[9], redis.call('HRANDFIELD', KEYS[9])) end
  redis.call('HSET', KEYS[9], name, known and value .. ' ' .. known or value)
end)
return 1
