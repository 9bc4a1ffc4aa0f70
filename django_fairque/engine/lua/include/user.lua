-- A user: its policy, what it waits for and runs, and its place in the ready sets.
--
-- Holds  a user is in the ready set of a queue exactly while it has a waiting task there, is not paused,
--        is below its cap and within its rate; while over its rate it is in `wake` instead.
--        The clock field w:<queue>:<group> is the sum of the weights of the users in that ready set.
-- Start-time fair queueing (Goyal, Vin, Cheng 1996) with the clock of WF2Q+ (Bennett, Zhang 1997).
--@include counts

local users, policies = {}, {}
local debt_limit = 64

local function policy_of(packed)
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

local function lane_of(n, critical, tag)
  n, critical, tag = tonumber(n or 0), tonumber(critical or 0), tonumber(tag or 0)
  return {n = n, critical = critical, tag = tag, n0 = n, critical0 = critical, tag0 = tag}
end

local function user_queue(user, queue)
  local lane = user.queues[queue]
  if not lane then
    local v = redis.call('HMGET', user.key, 'n:' .. queue, 'c:' .. queue, 't:' .. queue)
    lane = lane_of(v[1], v[2], v[3])
    user.queues[queue] = lane
  end
  return lane
end

local DEFAULT_POLICY = '1|0|0|1|0'

local function user_load(name, queue)
  local user = users[name]
  if user then
    if queue then user_queue(user, queue) end
    return user
  end
  local key = base .. 'user:' .. name
  queue = queue or 'default'
  local v = redis.call('HMGET', key, 'n', 'f', 'pol', 'ov', 'g', 'p', 'tat', 'est', 'qs',
    'n:' .. queue, 'c:' .. queue, 't:' .. queue)
  local n, flight = tonumber(v[1] or 0), tonumber(v[2] or 0)
  -- What an operator set outlives the hash of a user who idles.
  if not v[1] then v[4] = redis.call('GET', base .. 'override:' .. name) end
  local lane = lane_of(v[10], v[11], v[12])
  user = {
    name = name, key = key, exists = v[1] and true, packed = v[3] or DEFAULT_POLICY, override = v[4],
    group = v[5] or '*', n = n, n0 = v[1] and n, flight = flight, flight0 = flight, paused = v[6] and true,
    tat = tonumber(v[7] or 0), est = tonumber(v[8] or 0), qs = v[9], waiting = {}, queues = {[queue] = lane},
    policy = policy_of(v[4] or v[3] or DEFAULT_POLICY),
  }
  -- Without qs the user waits in `default` at most.
  if v[9] then
    for q in string.gmatch(v[9], '[^:]+') do user.waiting[q] = true end
  elseif queue ~= 'default' then
    user.waiting.default = user.exists
  elseif lane.n > 0 then
    user.waiting.default = true
  end
  users[name] = user
  return user
end

-- When the rate lets the next task start (GCRA, ITU-T I.371), or nil when it may start now.
local function over_rate_until(user)
  local policy = user.policy
  if policy.rate == 0 then return nil end
  local at = user.tat - (policy.burst - 1) * policy.rate
  if at > now then return at end
end

local function may_run(user)
  local cap = user.policy.cap
  return not user.paused and (cap == 0 or user.flight < cap) and not over_rate_until(user)
end

local function rung(queue, group)
  local bell = bell_key(queue, group)
  if redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- Put the user into the ready set of a queue: no credit for having idled, debt is kept, up to a limit.
local function enter(user, queue)
  local entry, place = user_queue(user, queue), queue .. ':' .. user.group
  local v = clock_get('v:' .. place)
  local most = v + debt_limit / user.policy.weight
  local tag = entry.tag
  if tag > most then tag = most end
  if tag < v then tag = v end
  entry.tag, user.dirty = tag, true
  if redis.call('ZADD', ready_key(queue, user.group), 'NX', after_ties(tag), user.name) == 1 then
    clock_set('w:' .. place, clock_get('w:' .. place) + user.policy.weight)
    rung(queue, user.group)
  end
end

local function weigh_off(user, queue)
  local field = 'w:' .. queue .. ':' .. user.group
  local weight = clock_get(field) - user.policy.weight
  clock_set(field, weight < 0.0005 and 0 or weight)
end

local function exit(user, queue)
  if redis.call('ZREM', ready_key(queue, user.group), user.name) == 1 then weigh_off(user, queue) end
end

-- Bring the ready sets and `wake` in line with what the user may do now. `was` is what may_run said
-- before the change; `queue` the only queue whose waiting tasks changed (nil: none did).
local function settle_place(user, was, queue, had)
  local may = may_run(user)
  if was and may then
    if queue then
      local has = user.queues[queue].n > 0
      if has and not had then enter(user, queue) elseif had and not has then exit(user, queue) end
    end
  elseif may then
    for q in pairs(user.waiting) do
      if user_queue(user, q).n > 0 then enter(user, q) end
    end
  elseif was then
    for q in pairs(user.waiting) do exit(user, q) end
    if queue and had then exit(user, queue) end
  end
  if not may and not user.paused and next(user.waiting) then
    local at = over_rate_until(user)
    if at then
      redis.call('ZADD', base .. 'wake', at, user.name)
      due_by(math.floor(at))
    end
  end
end

local function waits(user, queue, by, critical)
  local lane = user_queue(user, queue)
  lane.n = lane.n + by
  lane.critical = lane.critical + (critical or 0)
  user.dirty = true
  user.waiting[queue] = lane.n > 0 and true or nil
  count('q:' .. queue, by)
end

-- A cost that was charged and not used is given back, yet never below V.
local function refund(user, queue, cost)
  local lane = user_queue(user, queue)
  local v = clock_get('v:' .. queue .. ':' .. user.group)
  lane.tag = math.max(lane.tag - cost / user.policy.weight, math.min(lane.tag, v))
  user.dirty = true
  redis.call('ZADD', ready_key(queue, user.group), 'XX', after_ties(lane.tag), user.name)
end

-- One flight less.
local function landed(user)
  if user.flight > 0 then user.flight = user.flight - 1 end
  user.dirty = true
end

-- A user without tasks keeps its hash for an hour, or until its rate allows the next start: that is
-- as long as a debt or a rate can matter. Then nothing is left of it.
local IDLE_KEPT_MS = 3600000

local function user_save(user)
  local args, k = {}, 0
  local function put(field, value)
    args[k + 1], args[k + 2] = field, value
    k = k + 2
  end
  if user.n ~= user.n0 then put('n', user.n) end
  if user.flight ~= user.flight0 then put('f', user.flight) end
  for queue, lane in pairs(user.queues) do
    if lane.n ~= lane.n0 then put('n:' .. queue, lane.n) end
    if lane.critical ~= lane.critical0 then put('c:' .. queue, lane.critical) end
    if lane.tag ~= lane.tag0 then put('t:' .. queue, lane.tag) end
  end
  local qs, first = nil, next(user.waiting)
  if first and (first ~= 'default' or next(user.waiting, first)) then
    local names = {}
    for queue in pairs(user.waiting) do names[#names + 1] = queue end
    qs = table.concat(names, ':')
  end
  if qs and qs ~= user.qs then put('qs', qs) end
  if user.policy.rate > 0 then put('tat', user.tat) end
  if user.est > 0 then put('est', user.est) end
  if not user.exists then
    if user.packed ~= DEFAULT_POLICY then put('pol', user.packed) end
    if user.override then put('ov', user.override) end
    if user.group ~= '*' then put('g', user.group) end
  end
  if k > 0 then redis.call('HSET', user.key, unpack(args)) end
  if user.qs and not qs then redis.call('HDEL', user.key, 'qs') end
  local idle, was_idle = user.n + user.flight == 0, (user.n0 or 0) + user.flight0 == 0
  if idle and not was_idle then
    redis.call('ZREM', base .. 'users', user.name)
    if not user.paused then
      local keep = user.tat - now
      redis.call('PEXPIRE', user.key, exact(math.ceil(keep > IDLE_KEPT_MS and keep or IDLE_KEPT_MS)))
    end
  elseif was_idle and not idle then
    redis.call('ZADD', base .. 'users', 'NX', now_text, user.name)
    if user.exists then redis.call('PERSIST', user.key) end
  end
end

local function users_save()
  for _, user in pairs(users) do
    if user.dirty then user_save(user) end
  end
end
