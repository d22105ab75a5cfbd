-- One step of each of some fixed windows with escalation (guard semantics, section 6). The violations' times stand in the hash as
-- text, so that all that is known of a client is one key, in one slot of a cluster. KEYS: the hashes; ARGV: for each key requests_max,
-- window_ms, block_after, block_ms, permanent_after (0: never), permanent_window_ms; and for tests, behind them, the time in ms.
-- Answers a text with one word for each key. A number: eight times the milliseconds to wait (if it passes: until the next one would), 4
-- if the request is a violation, and 0 passes, 1 over, 2 blocked, 3 for ever. `-` for a key that holds something else, or a hash whose
-- fields are no numbers that a time can be.
local now = tonumber(ARGV[6 * #KEYS + 1])
local is_test = now ~= nil
if not is_test then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- tostring() keeps 14 digits only, enough for milliseconds until the year 5138; whole numbers are written as such.
local function whole(number)
  return string.format('%d', number)
end
local function step(key, stored, requests_max, window, block_after, block, permanent_after, permanent_window)
  if stored[5] == '1' then
    return 3
  end
  local count, start = tonumber(stored[1] or 0), tonumber(stored[2] or now)
  local violations, blocked_until = tonumber(stored[3] or 0), tonumber(stored[4] or 0)
  for _, number in ipairs({count or 0 / 0, start or 0 / 0, violations or 0 / 0, blocked_until or 0 / 0}) do
    if not (math.abs(number) < 2 ^ 46) then
      return nil
    end
  end
  if blocked_until > now then
    return 8 * (blocked_until - now) + 2
  end
  local events = {}
  for event in string.gmatch(stored[6] or '', '%d+') do
    if tonumber(event) >= now - permanent_window then
      events[#events + 1] = event
    end
  end
  if start < now - window then
    start, count = now, 1
  else
    count = count + 1
  end
  local verdict, wait = 0, 0
  if count >= requests_max then
    wait = math.max(start + window - now, 1)
  end
  local is_violation = count > requests_max
  if is_violation then
    violations = violations + 1
    verdict = 1
    if permanent_after > 0 then
      events[#events + 1] = whole(now)
    end
    if violations >= block_after then
      blocked_until = now + block
      if blocked_until > now then
        verdict, wait = 2, block
      end
    end
    if permanent_after > 0 and #events >= permanent_after then
      redis.call('HSET', key, 'permanent_blocked', '1', 'permanent_blocked_at', whole(now))
      verdict, wait = 3, 0
    end
  end
  redis.call('HSET', key, 'count', whole(count), 'window_start', whole(start), 'violations', whole(violations),
    'blocked_until', whole(blocked_until), 'violation_events', table.concat(events, ','))
  -- Violations do not decay, so a client that has any is kept. Others are as good as unknown when the window is over.
  if violations > 0 then
    redis.call('PERSIST', key)
  elseif not is_test then
    redis.call('PEXPIRE', key, window + 1000)
  end
  return 8 * wait + (is_violation and 4 or 0) + verdict
end
local answers = {}
for index, key in ipairs(KEYS) do
  local constants = {}
  for at = 1, 6 do
    constants[at] = tonumber(ARGV[6 * (index - 1) + at])
  end
  local stored = redis.pcall('HMGET', key, 'count', 'window_start', 'violations', 'blocked_until', 'permanent_blocked',
    'violation_events')
  if not stored.err then
    local answer = step(key, stored, unpack(constants))
    answers[index] = answer and whole(answer) or '-'
  elseif string.find(stored.err, 'WRONGTYPE', 1, true) then
    answers[index] = '-'
  else
    return stored
  end
end
return table.concat(answers, ' ')
