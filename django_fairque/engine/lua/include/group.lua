-- The groups of named workers. The clock field ng says how many there are.
--@include clock

-- Whether it is new.
function fq.name_group(group)
  local new = redis.call('SADD', base .. 'groups', group) == 1
  if new then fq.clock_set('ng', fq.clock_get('ng') + 1) end
  return new
end
