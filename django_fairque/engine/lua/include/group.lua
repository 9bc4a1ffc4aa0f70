-- The groups of named workers. The clock field ng says how many there are.
--@include clock

local function name_group(group)
  if redis.call('SADD', base .. 'groups', group) == 1 then clock_set('ng', clock_get('ng') + 1) end
end
