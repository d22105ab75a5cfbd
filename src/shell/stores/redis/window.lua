-- A hit in each of some sliding windows (guard semantics, section 5, Ours): a window is a sorted set whose scores are seconds since
-- 1970, as the reference library writes them. KEYS: the sets; ARGV: for each key the limit, the window in ms, and what tells this hit
-- from all others; and for tests, behind them, the time in microseconds.
-- Answers a text with one word for each key. A number: hits that are left; or, if none is, minus twice the milliseconds until the next
-- hit would pass, and one less if this hit is over the limit. `-` for a key that holds something else.
local now = tonumber(ARGV[3 * #KEYS + 1])
local is_test = now ~= nil
if not is_test then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
-- tostring() keeps 14 digits only; a score of seconds has 16.
local function seconds(micros)
  return string.format('%d.%06d', math.floor(micros / 1000000), micros % 1000000)
end
local score = seconds(now)
local answers = {}
for index, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[3 * index - 2]), tonumber(ARGV[3 * index - 1]) * 1000
  local dropped = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', seconds(now - window))
  if type(dropped) == 'number' then
    redis.call('ZADD', key, score, score .. ':' .. ARGV[3 * index])
    local count = redis.call('ZCARD', key)
    -- What decides is the newest limit + 1 hits.
    if count > limit + 1 then
      redis.call('ZREMRANGEBYRANK', key, 0, -limit - 2)
    end
    if not is_test then
      redis.call('PEXPIRE', key, math.ceil(window / 500))
    end
    local answer = limit - count
    if answer <= 0 then
      local retry_after = window
      if limit > 0 then
        local decisive = redis.call('ZREVRANGE', key, limit - 1, limit - 1, 'WITHSCORES')
        retry_after = math.floor(decisive[2] * 1000000 + 0.5) + window - now
      end
      answer = -2 * math.ceil(retry_after / 1000) - (count > limit and 1 or 0)
    end
    answers[index] = string.format('%d', answer)
  elseif string.find(dropped.err, 'WRONGTYPE', 1, true) then
    answers[index] = '-'
  else
    return dropped
  end
end
return table.concat(answers, ' ')
