-- The groups of named workers. The clock field ng says how many there are.
--@include clock

function fq.name_group(group)
  if redis.call('SADD', base .. 'groups', group) == 1 then fq.clock_set('ng', fq.clock_get('ng') + 1) end
end
