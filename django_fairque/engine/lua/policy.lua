#!lua flags=allow-oom
-- Change how a user is served; it takes effect at the next claim.
--
-- KEYS   base
-- ARGV   now ms or "", user, "pause", "resume", "override" or "settings", policy for "override", debt limit
-- Reply  "ok"

--@include move

local name, what, packed = ARGV[2], ARGV[3], ARGV[4]
debt_limit = tonumber(ARGV[5])
clock_load('lt', 'seq')
local user = user_load(name)
local may = may_run(user)
if what == 'pause' then
  user.paused = true
  redis.call('HSET', user.key, 'p', '1', 'n', user.n)
  redis.call('PERSIST', user.key)
  redis.call('ZADD', base .. 'paused', 'NX', now_text, name)
  redis.call('ZREM', base .. 'wake', name)
elseif what == 'resume' then
  user.paused = nil
  redis.call('HDEL', user.key, 'p')
  redis.call('ZREM', base .. 'paused', name)
  if user.exists and user.n + user.flight == 0 then redis.call('PEXPIRE', user.key, IDLE_KEPT_MS) end
elseif what == 'override' then
  redis.call('SET', base .. 'override:' .. name, packed)
  if user.exists then redis.call('HSET', user.key, 'ov', packed) end
  use_policy(user, packed)
else
  redis.call('DEL', base .. 'override:' .. name)
  redis.call('HDEL', user.key, 'ov')
  use_policy(user, user.packed)
end
settle_place(user, may)
if user.exists then users_save() end
clock_save()
return 'ok'
