#!lua flags=allow-oom
-- Change how a user is served; it takes effect at the next claim.
--
-- KEYS   base
-- ARGV   now ms or "", user, "pause", "resume", "override" or "settings", policy for "override", debt limit
-- Reply  "ok"

--@include move

local name, what, packed = ARGV[2], ARGV[3], ARGV[4]
debt_limit = tonumber(ARGV[5])
fq.clock_load('lt', 'seq')
local user = fq.user_load(name)
local may = fq.may_run(user)
if what == 'pause' then
  user.paused, user.dirty = '1', true
  redis.call('PERSIST', user.key)
  redis.call('ZREM', base .. 'wake', name)
elseif what == 'resume' then
  user.paused, user.dirty = nil, user.exists
  if user.exists and user.n + user.flight == 0 then fq.idle_until(user) end
elseif what == 'override' then
  redis.call('SET', base .. 'override:' .. name, packed)
  user.override = packed
  fq.use_policy(user, packed)
else
  redis.call('DEL', base .. 'override:' .. name)
  user.override = nil
  fq.use_policy(user, user.packed)
end
fq.settle_place(user, may)
-- A user without tasks needs no hash for a policy of its own, only to be paused.
if user.exists or user.paused then fq.users_save() end
fq.clock_save()
return 'ok'
