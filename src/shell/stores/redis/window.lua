-- A hit in a sliding window (guard semantics, section 5, Ours): a sorted set whose scores are seconds since 1970, as the
-- reference library writes them. KEYS[1] the set; ARGV: limit, window in ms, what tells this hit from all others, and for
-- tests the time in microseconds. Answers one number: hits that are left; or, if none is, minus twice the milliseconds until
-- the next hit would pass, and one less if this hit is over the limit.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000
local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
-- tostring() keeps 14 digits only; a score of seconds has 16.
local function seconds(micros)
  return string.format('%d.%06d', math.floor(micros / 1000000), micros % 1000000)
end
local score = seconds(now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', seconds(now - window))
redis.call('ZADD', KEYS[1], score, score .. ':' .. ARGV[3])
-- What decides is the newest limit + 1 hits.
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -limit - 2)
local count = redis.call('ZCARD', KEYS[1])
if not ARGV[4] then
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 500))
end
if count < limit then
  return limit - count
end
local retry_after = window
if limit > 0 then
  local decisive = redis.call('ZREVRANGE', KEYS[1], limit - 1, limit - 1, 'WITHSCORES')
  retry_after = math.floor(decisive[2] * 1000000 + 0.5) + window - now
end
return -2 * math.ceil(retry_after / 1000) - (count > limit and 1 or 0)
