-- A user: its policy, what it waits for and runs.
--@include counts

local users = {}
-- Terms of the call, which each script reads from its own arguments.
local debt_limit, failed_ttl_ms, dead_letter_limit
local DEFAULT_POLICY = '1|0|0|1|0'
local policies = {[DEFAULT_POLICY] = {weight = 1, cap = 0, rate = 0, burst = 1, limit = 0}}

-- What a user is unless something says otherwise.
local PLAIN = {__index = {group = '*', packed = DEFAULT_POLICY, tat = 0, est = 0}}

function fq.policy_of(packed)
  local policy = policies[packed]
  if not policy then
    local w, cap, rate, burst, limit = string.match(packed, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)$')
    policy = {
      weight = tonumber(w or 1), cap = tonumber(cap or 0), rate = tonumber(rate or 0),
      burst = tonumber(burst or 1), limit = tonumber(limit or 0),
    }
    policies[packed] = policy
  end
  return policy
end

local queue_fields = {default = {n = 'n:default', critical = 'c:default', tag = 't:default'}}
function fq.fields_of(queue)
  local fields = queue_fields[queue]
  if not fields then
    fields = {n = 'n:' .. queue, critical = 'c:' .. queue, tag = 't:' .. queue}
    queue_fields[queue] = fields
  end
  return fields
end

function fq.lane_of(n, critical, tag)
  n, critical, tag = tonumber(n or 0), tonumber(critical or 0), tonumber(tag or 0)
  return {n = n, critical = critical, tag = tag, n0 = n, critical0 = critical, tag0 = tag}
end

function fq.user_queue(user, queue)
  local lane = user.queues[queue]
  if not lane then
    local fields = fq.fields_of(queue)
    local v = redis.call('HMGET', user.key, fields.n, fields.critical, fields.tag)
    lane = fq.lane_of(v[1], v[2], v[3])
    user.queues[queue] = lane
  end
  return lane
end

function fq.user_load(name, queue)
  local user = users[name]
  if user then
    if queue then fq.user_queue(user, queue) end
    return user
  end
  queue = queue or 'default'
  local key, fields = base .. 'user:' .. name, fq.fields_of(queue)
  local v = redis.call('HMGET', key, 'n', 'f', 'x', fields.n, fields.critical, fields.tag)
  local n, flight = tonumber(v[1] or 0), tonumber(v[2] or 0)
  local lane = fq.lane_of(v[4], v[5], v[6])
  user = setmetatable({
    name = name, key = key, exists = v[1], x = v[3], n = n, n0 = n, flight = flight, flight0 = flight,
    waiting = {}, queues = {[queue] = lane}, policy = false, dirty = false,
  }, PLAIN)
  if v[3] then
    local w = redis.call('HMGET', key, 'pol', 'ov', 'g', 'p', 'tat', 'est', 'qs')
    user.packed, user.override, user.group, user.paused = w[1] or DEFAULT_POLICY, w[2], w[3] or '*', w[4]
    user.tat, user.est, user.qs = tonumber(w[5] or 0), tonumber(w[6] or 0), w[7]
  elseif not v[1] then
    -- What an operator set outlives the hash of a user who idles.
    user.override = redis.call('GET', base .. 'override:' .. name)
  end
  user.policy = fq.policy_of(user.override or user.packed)
  -- Without qs the user waits in `default` at most.
  if user.qs then
    for q in string.gmatch(user.qs, '[^:]+') do user.waiting[q] = true end
  elseif v[1] and (queue == 'default' and lane or fq.user_queue(user, 'default')).n > 0 then
    user.waiting.default = true
  end
  users[name] = user
  return user
end

function fq.may_run(user)
  local policy = user.policy
  return not user.paused and (policy.cap == 0 or user.flight < policy.cap)
    and (policy.rate == 0 or user.tat - (policy.burst - 1) * policy.rate <= now)
end

function fq.waits(user, queue, by, critical)
  local lane = fq.user_queue(user, queue)
  lane.n = lane.n + by
  lane.critical = lane.critical + (critical or 0)
  user.dirty = true
  user.waiting[queue] = lane.n > 0 and true or nil
  fq.count('q:' .. queue, by)
end

function fq.user_save(user)
  local args, k = {}, 0
  if user.n ~= user.n0 or not user.exists then
    args[1], args[2], k = 'n', user.n, 2
  end
  if user.flight ~= user.flight0 then
    args[k + 1], args[k + 2], k = 'f', user.flight, k + 2
  end
  local plain = not user.x and not user.override and user.packed == DEFAULT_POLICY and user.group == '*'
    and not user.paused and user.est == 0
  for queue, lane in pairs(user.queues) do
    local fields = fq.fields_of(queue)
    if lane.n ~= lane.n0 then args[k + 1], args[k + 2], k = fields.n, lane.n, k + 2 end
    if lane.critical ~= lane.critical0 then args[k + 1], args[k + 2], k = fields.critical, lane.critical, k + 2 end
    if lane.tag ~= lane.tag0 then args[k + 1], args[k + 2], k = fields.tag, lane.tag, k + 2 end
    plain = plain and queue == 'default'
  end
  if not plain then
    fq.needs_place()
    k = fq.save_special(user, args, k)
  end
  if k > 0 then redis.call('HSET', user.key, unpack(args)) end
  local idle, was_idle = user.n + user.flight == 0, user.n0 + user.flight0 == 0
  if idle and not was_idle then
    redis.call('ZREM', base .. 'users', user.name)
    fq.needs_place()
    if not user.paused then fq.idle_until(user) end
  elseif was_idle and not idle then
    redis.call('ZADD', base .. 'users', 'NX', now_text, user.name)
    if user.exists then redis.call('PERSIST', user.key) end
  end
end

-- Most enqueues only add to what waits. They leave out include/place.lua and define this again.
function fq.needs_place() end

function fq.users_save()
  for _, user in pairs(users) do
    if user.dirty then fq.user_save(user) end
  end
end
