-- Tell which log this is, and make one where there is none that could be the continuation of
-- what the caller knows.
--
-- A log is known by an id of its own, so that one which was lost and made again is not taken
-- for the same. Its facts are: "log", that id; "start", the position before its first entry;
-- "head", that of its newest; "prior", the newest position of any log before it that some
-- instance is known to have heard, so that another can tell whether it missed any.
--
-- KEYS: the stream, its facts.
-- ARGV: channel; the id of the log as the caller knows it, or empty; the newest entry it
--       knows of; the newest position it has told anyone; "1" if it has proof that the log
--       went back to an earlier state; an id for a new log; and, when it has only just
--       connected, its name.
-- Answers log, start, head, prior and the number of entries.

local log, facts = KEYS[1], KEYS[2]
local channel, known, newest, told, torn, fresh, name = unpack(ARGV, 1, 7)

local function parts(position)
  local ms, seq = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function later(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams > bms or (ams == bms and aseq > bseq)
end

if name then
  -- Here and not at the first event: an instance that may not publish, or a Redis too old
  -- to trim, must be found out before anything is half done.
  redis.call('PUBLISH', channel, '!hello ' .. name)
  local able = redis.pcall('XTRIM', log, 'MINID', '~', '0-0')
  if type(able) == 'table' and able.err then
    if string.find(able.err, 'syntax error', 1, true) then
      return redis.error_reply('OLD this Redis is older than 6.2')
    end
    if string.find(able.err, 'WRONGTYPE', 1, true) then
      -- It is somebody else's, and not ours to replace.
      return able
    end
  end
end

local now = redis.call('HMGET', facts, 'log', 'start', 'head', 'prior')
local id, start, head, prior = unpack(now, 1, 4)
local whole = id and start and head and prior and redis.call('EXISTS', log) == 1

-- Another may have noticed the same, and have made a new log already.
torn = torn == '1' and id == known

-- A log whose head, or, for another log than the caller's, whose start is before what the
-- caller has told its clients cannot go on from there: ids would repeat or go back. So it is
-- after a fail-over to a replica that lacked the last entries, and after a restart from an
-- older snapshot.
if whole and not torn and not later(told, id == known and head or start) then
  if id ~= known and later(newest, prior) then
    prior = newest
    redis.call('HSET', facts, 'prior', prior)
    redis.call('PUBLISH', channel, '!log')
  end
  return { id, start, head, prior, redis.call('XLEN', log) }
end

local floor = told
if prior and later(prior, newest) then
  newest = prior
end
if head then
  if later(head, floor) then
    floor = head
  end
  if head ~= start and later(head, newest) then
    newest = head
  end
end

local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fms, fseq = parts(floor)
if ms > fms then
  start = string.format('%.0f-0', ms)
else
  start = string.format('%.0f-%.0f', fms, fseq + 1)
end
if torn then
  -- Who has heard what of the part that is gone cannot be known any more: everyone is to
  -- take it that something was missed.
  newest = start
end

-- Adding the start and trimming it away leaves an empty stream whose ids will all be later,
-- wherever the clock of Redis may stand.
redis.call('DEL', log, facts)
redis.call('XADD', log, start, 's', '')
redis.call('XTRIM', log, 'MAXLEN', 0)
redis.call('HSET', facts, 'log', fresh, 'start', start, 'head', start, 'prior', newest)
redis.call('PUBLISH', channel, '!log')
return { fresh, start, start, newest, 0 }
