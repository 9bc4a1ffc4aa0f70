#!lua flags=allow-oom
-- Prolong the leases of living workers, whatever the number of their tasks, and keep the house clean.
--
-- KEYS   base
-- ARGV   now ms or "", lease ms, "turns" or "time", result TTL ms, how many finished are kept, TTL of
--        failed ms, how many dead letters, debt limit, worker ...
-- Reply  the workers that have no lease any more: they are dead for ever and must take a new id

--@include requeue

local lease_ms, by_time = tonumber(ARGV[2]), ARGV[3] == 'time'
failed_ttl_ms, dead_letter_limit, debt_limit = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
fq.clock_load('lt', 'seq', 'tick', 'grace', 'ng')
fq.tick(lease_ms)

-- Slow tasks pay while they run, so that their user is not served on credit.
local function charge_running(worker)
  local key = fq.held_key(worker)
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    local parts = fq.held_parts(held[i + 1])
    local extra = parts.user and now - parts.start - parts.est or 0
    if extra > 0 then
      local user = fq.user_load(parts.user, parts.queue)
      local lane = fq.user_queue(user, parts.queue)
      local place = fq.place_of(parts.queue, user.group)
      local most = math.max(lane.tag, fq.clock_get(place.v) + debt_limit / user.policy.weight)
      lane.tag = math.min(lane.tag + extra / user.policy.weight, most)
      user.dirty = true
      redis.call('ZADD', place.ready, 'XX', fq.after_ties(lane.tag), user.name)
      redis.call('HSET', key, held[i], table.concat({parts.call, fq.exact(parts.start), parts.flags,
        parts.user, parts.queue, fq.exact(parts.est + extra), parts.score}, '|'))
    end
  end
end

local lost = {}
for i = 9, #ARGV do
  local worker = ARGV[i]
  if redis.call('ZADD', base .. 'leases', 'XX', 'CH', fq.exact(now + lease_ms), worker) == 0
    and not redis.call('ZSCORE', base .. 'leases', worker) then
    lost[#lost + 1] = worker
  else
    if by_time then charge_running(worker) end
    -- Its groups see that somebody of theirs is there, even while all its slots are taken.
    if fq.clock_get('ng') > 0 then
      local groups = redis.call('HGET', base .. 'worker:' .. worker, 'groups') or ''
      for group in string.gmatch(groups, '[^:]+') do fq.clock_set('a:' .. group, now) end
    end
  end
end
fq.trim('finished', tonumber(ARGV[5]), tonumber(ARGV[4]), 512)
local dropped = fq.trim('failed', dead_letter_limit, failed_ttl_ms, 512)
if dropped > 0 then fq.count('dropped', dropped) end
redis.call('ZREMRANGEBYSCORE', base .. 'gone', '-inf', fq.exact(now - 86400000))
fq.trim('canceled', dead_letter_limit, failed_ttl_ms, 512)
fq.users_save()
fq.clock_save()
fq.counts_save()
return lost
