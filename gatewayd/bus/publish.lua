-- Put events into the log and tell every instance, all of them or, where the log is not the
-- one the caller knows, none.
--
-- An event whose publisher gave it no id is remembered by its digest until the broker will not
-- deliver it again. When a consumer ends, the next is given what the last had not settled, as
-- redelivered and in order; of that, what had been published already is found here, and is not
-- published a second time. From then on the last one may publish nothing more: an instance that
-- was stopped, or cut off from here, would otherwise do so when its successor already has.
--
-- KEYS: the stream, its facts, the unsettled events of the present consumer (digest by uid),
--       those that its predecessors left (count by digest), and one key for each event's uid.
-- ARGV: channel, seconds that a uid is remembered, the log's id as the caller knows it, the
--       position before which nobody needs the log, the most entries it may have, the consumer
--       that the events came by (or empty), how many uids are settled, those uids; then for
--       each event "1" if it is ephemeral, its header, its data, and, where the publisher gave
--       it no id, "D" or for a redelivered one "R", its digest of 32 digits, and its uid.
-- Answers nil; 'PAST' if that consumer has a successor; or for each event its position: "-" for
-- an ephemeral one, and with "=" before it for one whose uid was published before, which is not
-- published again.

local log, facts, unsettled, inherited = unpack(KEYS, 1, 4)
local channel, window, known, floor, most, consumer, settled = unpack(ARGV, 1, 7)
local before_events = 7 + tonumber(settled)

local now = redis.call('HMGET', facts, 'log', 'head', 'consumer', 'past')
if now[1] ~= known or redis.call('EXISTS', log) == 0 then
  return false
end
local head = now[2]

local takes_over = consumer ~= '' and consumer ~= now[3]
local past = now[4] or ' '
if takes_over and string.find(past, ' ' .. consumer .. ' ', 1, true) then
  return 'PAST'
end

if before_events > 7 then
  redis.call('HDEL', unsettled, unpack(ARGV, 8, before_events))
end
if takes_over then
  for _, digest in ipairs(redis.call('HVALS', unsettled)) do
    redis.call('HINCRBY', inherited, digest, 1)
  end
  redis.call('DEL', unsettled)
  redis.call('EXPIRE', inherited, 86400)
  -- The newest hundred or so are enough: each is the end of a connection.
  past = string.sub(' ' .. (now[3] or '') .. past, 1, 1700)
  redis.call('HSET', facts, 'consumer', consumer, 'past', past)
end

local function published_before(origin)
  local digest = string.sub(origin, 2, 33)
  redis.call('HSET', unsettled, string.sub(origin, 34), digest)
  if string.byte(origin) ~= 82 then
    -- What is delivered again comes first, and in its order: there is no more of it.
    redis.call('DEL', inherited)
    return false
  end
  if (tonumber(redis.call('HGET', inherited, digest)) or 0) <= 0 then
    return false
  end
  redis.call('HINCRBY', inherited, digest, -1)
  return true
end

local seen = redis.call('MGET', unpack(KEYS, 5))
local own, answers = {}, {}
for i = 1, #seen do
  local key = KEYS[i + 4]
  local at = before_events - 3 + i * 4
  local origin = ARGV[at + 3]
  local first = seen[i] or own[key]
  if not first and origin ~= '' and published_before(origin) then
    first = '-'
    redis.call('SET', key, first, 'EX', window)
  end
  if first then
    answers[i] = '=' .. first
  else
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

if consumer ~= '' then
  redis.call('EXPIRE', unsettled, 86400)
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
