#!lua flags=allow-oom
-- A worker process begins: it gets a lease under an incarnation id that was never used before.
--
-- KEYS   base
-- ARGV   now ms or "", worker, lease ms, group of its own or "", its queues joined by ":", field, value ...
-- Reply  "ok", or "lost" when this incarnation has ended

--@include group
--@include bell

local worker, lease_ms, group = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if redis.call('ZSCORE', base .. 'dead', worker) or redis.call('ZSCORE', base .. 'gone', worker) then
  return 'lost'
end
if group ~= '' then
  if fq.name_group(group) then
    -- Who serves everybody has to learn that there is one group more to listen to.
    for queue in string.gmatch(ARGV[5], '[^:]+') do
      fq.rung(fq.place_of(queue, '*').bell)
    end
  end
  fq.clock_set('a:' .. group, now)
end
local about = {'since', fq.exact(now)}
for i = 6, #ARGV do about[#about + 1] = ARGV[i] end
redis.call('HSET', base .. 'worker:' .. worker, unpack(about))
redis.call('ZADD', base .. 'leases', fq.exact(now + lease_ms), worker)
fq.due_by(now + lease_ms)
fq.tick(lease_ms)
fq.clock_save()
return 'ok'
