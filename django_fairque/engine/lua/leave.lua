#!lua flags=allow-oom
-- A worker process ends. What it still holds goes back to the front, and nobody counts that against a task.
--
-- KEYS   base
-- ARGV   now ms or "", worker, debt limit
-- Reply  how many tasks went back

--@include requeue

local worker = ARGV[2]
debt_limit = tonumber(ARGV[3])
fq.clock_load('lt', 'seq')
local held = redis.call('HGETALL', fq.held_key(worker))
for i = 1, #held, 2 do
  local parts = fq.held_parts(held[i + 1])
  fq.count('running', -1)
  if parts.user then
    local user = fq.user_load(parts.user, parts.queue)
    local may = fq.may_run(user)
    fq.landed(user)
    fq.refund(user, parts.queue, parts.est)
    fq.settle_place(user, may)
    redis.call('HDEL', fq.task_key(held[i]), 'h', 'st')
    fq.back(user, held[i], parts.queue, parts.score)
  end
end
fq.back_in_line()
redis.call('DEL', fq.held_key(worker), base .. 'worker:' .. worker)
redis.call('HDEL', clock_key, 'call:' .. worker, 'turn:' .. worker)
redis.call('ZREM', base .. 'leases', worker)
redis.call('ZREM', base .. 'dead', worker)
redis.call('ZADD', base .. 'gone', now_text, worker)
fq.users_save()
fq.clock_save()
fq.counts_save()
return #held / 2
