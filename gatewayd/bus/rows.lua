-- The rows shown lately, by the clock that dated them.
--
-- KEYS: the hash of rows.
-- ARGV: the milliseconds that a row is shown.

local keep = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local shown = {}
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local at, row = string.match(value, '^(%d+) (.*)$')
  if at and math.abs(now - tonumber(at)) <= keep then
    shown[#shown + 1] = row
  end
end
return shown
