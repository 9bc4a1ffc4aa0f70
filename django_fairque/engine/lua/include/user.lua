-- A user: its policy, what it waits for and runs, and its place in the ready sets.
--
-- Holds  a user is in the ready set of a queue exactly while it has a waiting task there, is not paused,
--        is below its cap and within its rate; while over its rate it is in `wake` instead.
--        The clock field w:<queue>:<group> is the sum of the weights of the users in that ready set.
-- Start-time fair queueing (Goyal, Vin, Cheng 1996) with the clock of WF2Q+ (Bennett, Zhang 1997).
--@include counts

local users, policies = {}, {}
-- Terms of the call, which each script reads from its own arguments.
local debt_limit, failed_ttl_ms, dead_letter_limit = 64, 0, 0
local DEFAULT_POLICY = '1|0|0|1|0'

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

local queue_fields = {}
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
  elseif queue ~= 'default' then
    user.waiting.default = v[1]
  elseif lane.n > 0 then
    user.waiting.default = true
  end
  users[name] = user
  return user
end

-- When the rate lets the next task start (GCRA, ITU-T I.371), or nil when it may start now.
function fq.over_rate_until(user)
  local policy = user.policy
  if policy.rate == 0 then return nil end
  local at = user.tat - (policy.burst - 1) * policy.rate
  if at > now then return at end
end

function fq.may_run(user)
  local policy = user.policy
  return not user.paused and (policy.cap == 0 or user.flight < policy.cap)
    and (policy.rate == 0 or not fq.over_rate_until(user))
end

function fq.rung(bell)
  if redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- Put the user into the ready set of a queue: no credit for having idled, debt is kept, up to a limit.
function fq.enter(user, queue)
  local lane, place, weight = fq.user_queue(user, queue), fq.place_of(queue, user.group), user.policy.weight
  local v = fq.clock_get(place.v)
  lane.tag = math.max(v, math.min(lane.tag, v + debt_limit / weight))
  user.dirty = true
  if redis.call('ZADD', place.ready, 'NX', fq.after_ties(lane.tag), user.name) == 1 then
    fq.clock_set(place.w, fq.clock_get(place.w) + weight)
    fq.rung(place.bell)
  end
end

function fq.exit(user, queue)
  local place = fq.place_of(queue, user.group)
  if redis.call('ZREM', place.ready, user.name) == 1 then
    local weight = fq.clock_get(place.w) - user.policy.weight
    fq.clock_set(place.w, weight < 0.0005 and 0 or weight)
  end
end

function fq.park(user)
  local at = fq.over_rate_until(user)
  if at and not user.paused and next(user.waiting) then
    redis.call('ZADD', base .. 'wake', at, user.name)
    fq.due_by(math.floor(at))
  end
end

-- Bring the ready sets and `wake` in line with what the user may do now. `was` is what may_run said
-- before the change; `queue` the only queue whose waiting tasks changed (nil: none did).
function fq.settle_place(user, was, queue, had)
  local may = fq.may_run(user)
  if was and may then
    if queue then
      local has = user.queues[queue].n > 0
      if has and not had then fq.enter(user, queue) elseif had and not has then fq.exit(user, queue) end
    end
  elseif may then
    for q in pairs(user.waiting) do
      if fq.user_queue(user, q).n > 0 then fq.enter(user, q) end
    end
  elseif was then
    for q in pairs(user.waiting) do fq.exit(user, q) end
    if queue and had then fq.exit(user, queue) end
  end
  if not may then fq.park(user) end
end

function fq.waits(user, queue, by, critical)
  local lane = fq.user_queue(user, queue)
  lane.n = lane.n + by
  lane.critical = lane.critical + (critical or 0)
  user.dirty = true
  user.waiting[queue] = lane.n > 0 and true or nil
  fq.count('q:' .. queue, by)
end

-- A cost that was charged and not used is given back, yet never below V.
function fq.refund(user, queue, cost)
  if cost <= 0 then return end
  local lane, place = fq.user_queue(user, queue), fq.place_of(queue, user.group)
  lane.tag = math.max(lane.tag - cost / user.policy.weight, math.min(lane.tag, fq.clock_get(place.v)))
  user.dirty = true
  redis.call('ZADD', place.ready, 'XX', fq.after_ties(lane.tag), user.name)
end

-- One flight less.
function fq.landed(user)
  if user.flight > 0 then user.flight = user.flight - 1 end
  user.dirty = true
end

-- A user without tasks keeps its hash for an hour, or until its rate allows the next start: that is
-- as long as a debt or a rate can matter. Then nothing is left of it.
local IDLE_KEPT_MS = 3600000

function fq.idle_until(user)
  local keep = user.tat - now
  redis.call('PEXPIRE', user.key, fq.exact(math.ceil(keep > IDLE_KEPT_MS and keep or IDLE_KEPT_MS)))
end

-- The fields that few users have, and x, which says whether there are any. A queue list is needed
-- unless the user waits in `default` alone.
function fq.save_special(user, args, k)
  local qs, first, gone = nil, next(user.waiting), {}
  if first and (first ~= 'default' or next(user.waiting, first)) then
    local names = {}
    for queue in pairs(user.waiting) do names[#names + 1] = queue end
    qs = table.concat(names, ':')
  end
  local special = {
    pol = user.packed ~= DEFAULT_POLICY and user.packed, ov = user.override, g = user.group ~= '*' and user.group,
    p = user.paused, tat = user.policy.rate > 0 and user.tat, est = user.est > 0 and user.est, qs = qs,
  }
  local x
  for _, value in pairs(special) do x = x or (value and '1') end
  if user.policy.cap > 0 then x = 'c' end
  if x then
    args[k + 1], args[k + 2] = 'x', x
    k = k + 2
    for field, value in pairs(special) do
      if value then
        args[k + 1], args[k + 2] = field, value
        k = k + 2
      end
    end
  end
  if user.x then
    for _, field in ipairs({'pol', 'ov', 'g', 'p', 'tat', 'est', 'qs'}) do
      if not special[field] then gone[#gone + 1] = field end
    end
    if not x then gone[#gone + 1] = 'x' end
    if #gone > 0 then redis.call('HDEL', user.key, unpack(gone)) end
  end
  return k
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
  if not plain then k = fq.save_special(user, args, k) end
  if k > 0 then redis.call('HSET', user.key, unpack(args)) end
  local idle, was_idle = user.n + user.flight == 0, user.n0 + user.flight0 == 0
  if idle and not was_idle then
    redis.call('ZREM', base .. 'users', user.name)
    if not user.paused then fq.idle_until(user) end
  elseif was_idle and not idle then
    redis.call('ZADD', base .. 'users', 'NX', now_text, user.name)
    if user.exists then redis.call('PERSIST', user.key) end
  end
end

function fq.users_save()
  for _, user in pairs(users) do
    if user.dirty then fq.user_save(user) end
  end
end
