#!lua flags=allow-oom
-- Pass a wake-up on that this worker cannot use, as long as somebody is ready.
--
-- KEYS   base
-- ARGV   queue, group, queue, group ...
-- Reply  how many bells were rung

local base, rung = KEYS[1], 0
for i = 1, #ARGV, 2 do
  local place = ARGV[i] .. ':' .. ARGV[i + 1]
  if redis.call('EXISTS', base .. 'ready:' .. place) == 1 and redis.call('LLEN', base .. 'bell:' .. place) == 0 then
    redis.call('LPUSH', base .. 'bell:' .. place, '1')
    rung = rung + 1
  end
end
return rung
