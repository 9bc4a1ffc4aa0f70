-- A user's place: in the ready sets, in `wake`, or nowhere; and what follows from it.
--
-- Holds  a user is in the ready set of a queue exactly while it has a waiting task there, is not paused,
--        is below its cap and within its rate; while over its rate it is in `wake` instead.
--        The clock field w:<queue>:<group> is the sum of the weights of the users in that ready set.
-- Start-time fair queueing (Goyal, Vin, Cheng 1996); turn.lua moves the clock.
--@include user
--@include bell

-- When the rate lets the next task start (GCRA, ITU-T I.371), or nil when it may start now.
function fq.over_rate_until(user)
  local policy = user.policy
  if policy.rate == 0 then return nil end
  local at = user.tat - (policy.burst - 1) * policy.rate
  if at > now then return at end
end

-- Put the user into the ready set of a queue: no credit for having idled, debt is kept, up to a limit.
function fq.enter(user, queue)
  local lane, place, weight = fq.user_queue(user, queue), fq.place_of(queue, user.group), user.policy.weight
  local v = fq.clock_get(place.v)
  local tag = math.max(v, math.min(lane.tag, v + debt_limit / weight))
  if redis.call('ZADD', place.ready, 'NX', fq.after_ties(tag), user.name) == 1 then
    lane.tag, user.dirty = tag, true
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
  local queue = next(user.waiting)
  if at and not user.paused and queue then
    redis.call('ZADD', base .. 'wake', at, user.name)
    -- Whoever sleeps has to learn that something is due earlier than it thinks.
    if at < fq.clock_get('due') then fq.rung(fq.place_of(queue, user.group).bell) end
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

-- The score of a scheduled task: when it is due, and among tasks due in the same millisecond the order
-- in which they came (a quarter of a microsecond is the finest step such a number has).
local places = {}
function fq.due_place(at_ms)
  local place = places[at_ms]
  if not place then
    local first = at_ms * 1000
    local last = redis.call('ZREVRANGEBYSCORE', fq.state_key('scheduled'), first + 999.75, first, 'WITHSCORES', 'LIMIT', 0, 1)
    place = last[2] and tonumber(last[2]) or first - 0.25
  end
  place = math.min(place + 0.25, at_ms * 1000 + 999.75)
  places[at_ms] = place
  return place
end
