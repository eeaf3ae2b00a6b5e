-- Forget settled subjects all of whose facts the log has dropped, those that settled first; how many were looked at.
-- One that had another fact since goes to the end of the list. One that is live again comes there once it has settled.
-- KEYS: meta states bitmaps settled
-- ARGV: applied token run_id (the guard) log_start most
local guard = redis.call('HMGET', KEYS[1], 'applied', 'token')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return false end
local start = tonumber(ARGV[4])
for looked = 0, ARGV[5] - 1 do
  local entry = redis.call('LINDEX', KEYS[4], 0)
  local offset, subject = string.match(entry or '', '^(%d+) (.+)$')
  if not offset or tonumber(offset) >= start then return looked end
  redis.call('LPOP', KEYS[4])
  local last = string.match(redis.call('HGET', KEYS[2], subject) or '', '^z1 (%d+) ')
  if last and tonumber(last) < start then
    redis.call('HDEL', KEYS[2], subject)
    redis.call('HDEL', KEYS[3], subject)
  elseif last then
    redis.call('RPUSH', KEYS[4], last .. ' ' .. subject)
  end
end
return tonumber(ARGV[5])
