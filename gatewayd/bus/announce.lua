-- Show one instance's row to the others, and forget those that have not been shown lately.
--
-- KEYS: the hash of rows.
-- ARGV: the instance, its row, the milliseconds that a row is shown.

local rows = KEYS[1]
local instance, row, keep = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local all = redis.call('HGETALL', rows)
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+'))
  -- Either way: after Redis' clock went back, a row from the future would stay for ever.
  if not at or math.abs(now - at) > keep then
    redis.call('HDEL', rows, all[i])
  end
end
redis.call('HSET', rows, instance, string.format('%.0f %s', now, row))
redis.call('PEXPIRE', rows, keep)
return redis.status_reply('OK')
