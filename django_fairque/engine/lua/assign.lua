#!lua flags=allow-oom
-- Give users to the group of a named worker; each keeps its lead or lag over the clock.
--
-- KEYS   base
-- ARGV   now ms or "", group, debt limit, user ...
-- Reply  how many moved

--@include move

local group, moved = ARGV[2], 0
debt_limit = tonumber(ARGV[3])
fq.clock_load('lt', 'seq')
for i = 4, #ARGV do
  local from = redis.call('HMGET', base .. 'user:' .. ARGV[i], 'g', 'n')
  if from[2] and (from[1] or '*') ~= group then
    fq.move_to(fq.user_load(ARGV[i]), group)
    moved = moved + 1
  end
end
fq.users_save()
fq.clock_save()
return moved
