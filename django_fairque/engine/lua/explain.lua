#!lua flags=no-writes
-- Why a user waits: the facts, for engine/explain.py to put into words.
--
-- KEYS   base
-- ARGV   now ms or "", user
-- Reply  {now, policy, group, waiting and scheduled, in flight, "1" when paused, ms until its rate allows a
--        start, then for each queue it waits in {queue, waiting, rank or false, users ready there, oldest ms}}

--@include place

local user = fq.user_load(ARGV[2])
local until_ms = fq.over_rate_until(user)
local reply = {fq.exact(now), user.override or user.packed, user.group, fq.exact(user.n), fq.exact(user.flight),
  user.paused and '1' or '', until_ms and fq.exact(math.ceil(until_ms - now)) or '0'}
for queue in pairs(user.waiting) do
  local key = fq.place_of(queue, user.group).ready
  local first = redis.call('LINDEX', fq.lane_key(user.name, 'critical', queue), 0)
  if not first then first = redis.call('ZRANGE', fq.lane_key(user.name, 'normal', queue), 0, 0)[1] end
  local since = first and redis.call('HGET', fq.task_key(first), 'e')
  reply[#reply + 1] = {queue, fq.exact(fq.user_queue(user, queue).n), redis.call('ZRANK', key, user.name),
    redis.call('ZCARD', key), since or false}
end
return reply
