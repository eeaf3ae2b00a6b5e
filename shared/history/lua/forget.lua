-- Forget settled subjects all of whose facts the log has dropped; how many entries were looked at.
-- An entry counts if it names the last fact of its subject: one that had another fact since has a later entry, and one that is
-- live again has one once it has settled.
-- KEYS: meta states bitmaps settled
-- ARGV: applied token run_id (the guard) log_start most
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return false end
local start = tonumber(ARGV[4])
for looked = 0, ARGV[5] - 1 do
  local entry = redis.call('LINDEX', KEYS[4], 0)
  local offset, subject = string.match(entry or '', '^(%d+) (.*)$')
  if not offset or tonumber(offset) >= start then return looked end
  redis.call('LPOP', KEYS[4])
  local last = string.match(redis.call('HGET', KEYS[2], subject) or '', '^z1 (%d+) ')
  if last == offset then
    redis.call('HDEL', KEYS[2], subject)
    redis.call('HDEL', KEYS[3], subject)
  end
end
return tonumber(ARGV[5])
