#!lua flags=allow-oom
-- Cancel a task that has not started.
--
-- KEYS   base
-- ARGV   now ms or "", id, TTL of the record ms
-- Reply  "canceled", or the state that forbids it, or "unknown"

--@include requeue

local id, ttl = ARGV[2], ARGV[3]
local key = fq.task_key(id)
local v = redis.call('HMGET', key, 'u', 's', 'q', 'pr')
if not v[1] then return 'unknown' end
if v[2] and v[2] ~= 'scheduled' then return v[2] end
fq.clock_load('lt', 'seq')
local queue, critical = v[3] or 'default', 0
local user = fq.user_load(v[1], queue)
local may, had = fq.may_run(user), fq.user_queue(user, queue).n > 0
if v[2] == 'scheduled' then
  redis.call('ZREM', fq.state_key('scheduled'), id)
  fq.settle_place(user, may)
else
  local removed
  if v[4] == 'c' then
    critical = redis.call('LREM', fq.lane_key(user.name, 'critical', queue), 1, id)
    removed = critical
  else
    removed = redis.call('ZREM', fq.lane_key(user.name, 'normal', queue), id)
  end
  -- A claim came upon it and found garbage; it is on its way to the dead letters.
  if removed == 0 then return 'unknown' end
  fq.waits(user, queue, -1, -critical)
  fq.settle_place(user, may, queue, had)
end
user.n, user.dirty = user.n - 1, true
redis.call('HSET', key, 's', 'canceled', 'ft', now_text)
redis.call('PEXPIRE', key, ttl)
redis.call('PEXPIRE', base .. 'body:' .. id, ttl)
redis.call('PEXPIRE', base .. 'errors:' .. id, ttl)
redis.call('ZADD', fq.state_key('canceled'), now_text, id)
fq.stat('canceled', 1)
fq.users_save()
fq.clock_save()
fq.counts_save()
return 'canceled'
