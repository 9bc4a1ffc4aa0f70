#!lua flags=allow-oom
-- A worker process ends. What it still holds goes back to the front, and nobody counts that against a task.
--
-- KEYS   base
-- ARGV   now ms or "", worker
-- Reply  how many tasks went back

--@include requeue

local worker = ARGV[2]
clock_load('lt', 'seq')
local held = redis.call('HGETALL', held_key(worker))
for i = 1, #held, 2 do
  local parts = held_parts(held[i + 1])
  local user = user_load(parts.user, parts.queue)
  local may = may_run(user)
  landed(user)
  refund(user, parts.queue, parts.est)
  settle_place(user, may)
  redis.call('HDEL', task_key(held[i]), 'h', 'st')
  back(user, held[i], parts.queue, parts.score)
  count('running', -1)
end
back_in_line()
redis.call('DEL', held_key(worker), base .. 'worker:' .. worker)
redis.call('HDEL', clock_key, 'call:' .. worker, 'turn:' .. worker)
redis.call('ZREM', base .. 'leases', worker)
redis.call('ZREM', base .. 'dead', worker)
redis.call('ZADD', base .. 'gone', now_text, worker)
users_save()
clock_save()
counts_save()
return #held / 2
