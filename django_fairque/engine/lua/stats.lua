#!lua flags=no-writes
-- Counts by state and queue, and the counters of some minutes.
--
-- KEYS   base
-- ARGV   now ms or "", result TTL ms, TTL of failed ms, first minute, last minute
-- Reply  {now, counters {field, n ...}, scheduled, finished, failed, canceled, users with tasks, workers,
--        then for each minute its hash}

--@include clock

local function alive(state, ttl)
  return redis.call('ZCOUNT', fq.state_key(state), fq.exact(now - tonumber(ttl)), '+inf')
end

local reply = {fq.exact(now), redis.call('HGETALL', clock_key), redis.call('ZCARD', fq.state_key('scheduled')),
  alive('finished', ARGV[2]), alive('failed', ARGV[3]), alive('canceled', ARGV[3]),
  redis.call('ZCARD', base .. 'users'), redis.call('ZCOUNT', base .. 'leases', fq.exact(now), '+inf')}
local first, last = tonumber(ARGV[4]), tonumber(ARGV[5])
for minute = first, math.min(last, first + 1440) do
  reply[#reply + 1] = redis.call('HGETALL', base .. 'stats:' .. fq.exact(minute))
end
return reply
