-- Wake one worker that sleeps on this bell. A token that lies there already does it as well.
--@include names

function fq.rung(bell)
  if redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '1') end
end
