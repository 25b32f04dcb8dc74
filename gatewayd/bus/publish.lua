-- Put events into the log and tell every instance, all of them or, where the log is not the
-- one the caller knows, none.
--
-- KEYS: the stream, its facts, and one key for each event's uid.
-- ARGV: channel, seconds that a uid is remembered, the log's id as the caller knows it, the
--       position before which nobody needs the log, the most entries it may have; then for
--       each event "1" if it is ephemeral, its header, its data.
-- Answers nil, or for each event its position: "-" for an ephemeral one, and with "=" before
-- it for one whose uid was published before, which is not published again.

local log, facts = KEYS[1], KEYS[2]
local channel, window, known, floor, most = unpack(ARGV, 1, 5)

local now = redis.call('HMGET', facts, 'log', 'head')
if now[1] ~= known or redis.call('EXISTS', log) == 0 then
  return false
end
local head = now[2]

local seen = redis.call('MGET', unpack(KEYS, 3))
local own, answers = {}, {}
for i = 1, #seen do
  local key = KEYS[i + 2]
  local first = seen[i] or own[key]
  if first then
    answers[i] = '=' .. first
  else
    local at = 3 + i * 3
    local header, data = ARGV[at + 1], ARGV[at + 2]
    local id, before = '-', head
    if ARGV[at] ~= '1' then
      id = redis.call('XADD', log, '*', 'p', head, 'h', header, 'd', data)
      head = id
    end
    redis.call('SET', key, id, 'EX', window)
    redis.call('PUBLISH', channel, id .. ' ' .. before .. ' ' .. header .. '\n' .. data)
    own[key] = id
    answers[i] = id
  end
end

if head ~= now[2] then
  redis.call('HSET', facts, 'head', head)
  -- Whole nodes of the stream at a time: exact trimming would cost more than the adding.
  redis.call('XTRIM', log, 'MINID', '~', floor)
  if redis.call('XLEN', log) > tonumber(most) then
    redis.call('XTRIM', log, 'MAXLEN', '~', most)
  end
end
return answers
