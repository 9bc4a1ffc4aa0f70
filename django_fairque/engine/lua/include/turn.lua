-- Take one turn from a source, and afterwards bring lanes and ready sets in line with all turns taken.
-- Used by claim.lua alone; found, taken and order are its lists.
--@include serve

-- The source whose user is next. Several queues, and groups that lost their workers, take turns.
local function next_source(sources, turn)
  for i = 1, #sources do
    local source = sources[(turn + i - 1) % #sources + 1]
    while true do
      local entry = head(source)
      if not entry then break end
      local user = user_load(entry.name, source.queue)
      if user_queue(user, source.queue).n > 0 and may_run(user) then return source end
      if not taken[user] then
        -- It should not be here: heal the set.
        exit(user, source.queue)
        settle_place(user, false)
      end
      drop(source)
    end
  end
end

local function take_turn(source, by_time)
  local entry = head(source)
  local user = user_load(entry.name, source.queue)
  local lane, policy = user_queue(user, source.queue), user.policy
  local where = source.queue .. ':' .. user.group
  local cost = 1
  if by_time then cost = math.max(user.est, 1) end
  local weights, v = clock_get('w:' .. where), clock_get('v:' .. where)
  v = v + cost / math.max(weights, policy.weight)
  if lane.tag > v then v = lane.tag end
  clock_set('v:' .. where, v)
  lane.tag = lane.tag + cost / policy.weight
  user.flight, user.n, user.dirty = user.flight + 1, user.n - 1, true
  if policy.rate > 0 then user.tat = math.max(user.tat, now) + policy.rate end
  local critical = lane.critical > 0 and 1 or 0
  waits(user, source.queue, -1, -critical)
  local mine = taken[user]
  if not mine then
    mine = {}
    taken[user] = mine
  end
  local pops = mine[source.queue]
  if not pops then
    pops = {critical = 0, normal = 0, group = user.group}
    mine[source.queue] = pops
  end
  if critical == 1 then pops.critical = pops.critical + 1 else pops.normal = pops.normal + 1 end
  order[#order + 1] = {user = user, queue = source.queue, cost = cost, critical = critical == 1}
  drop(source)
  if lane.n > 0 and may_run(user) then
    pops.tag = after_ties(lane.tag)
    push(source, entry, pops.tag - entry.offset)
  else
    -- Gone from here now, so that the clock counts only those who can be served.
    pops.tag = nil
    exit(user, source.queue)
  end
end

local function leave_ready()
  for user, mine in pairs(taken) do
    local may = may_run(user)
    for queue, pops in pairs(mine) do
      if pops.tag and may then
        redis.call('ZADD', ready_key(queue, user.group), 'XX', pops.tag, user.name)
      end
    end
    if not may then
      for queue in pairs(user.waiting) do exit(user, queue) end
      local until_ms = over_rate_until(user)
      if until_ms and next(user.waiting) then
        redis.call('ZADD', base .. 'wake', until_ms, user.name)
        due_by(math.floor(until_ms))
      end
    end
  end
end

-- A lane that is no lane (somebody wrote there by hand) holds no task; it must not stop the others.
local function from_lane(key, pop, n)
  local got = redis.pcall(pop, key, n)
  if got and got.err then
    redis.call('DEL', key)
    return {}
  end
  return got or {}
end

-- The tasks of all turns, in the order of the turns.
local function pop_lanes()
  local popped = {}
  for user, mine in pairs(taken) do
    popped[user] = {}
    for queue, pops in pairs(mine) do
      local got = {critical = {}, normal = {}, c = 0, n = 0}
      if pops.critical > 0 then
        got.critical = from_lane(lane_key(user.name, 'critical', queue), 'LPOP', pops.critical)
      end
      if pops.normal > 0 then
        got.normal = from_lane(lane_key(user.name, 'normal', queue), 'ZPOPMIN', pops.normal)
      end
      if #got.critical < pops.critical or #got.normal < 2 * pops.normal then
        -- The lanes hold less than was counted: believe the lanes.
        local critical = redis.call('LLEN', lane_key(user.name, 'critical', queue))
        local lane = user_queue(user, queue)
        local real = critical + redis.call('ZCARD', lane_key(user.name, 'normal', queue))
        local had = lane.n > 0
        user.n = math.max(0, user.n + real - lane.n)
        waits(user, queue, real - lane.n, critical - lane.critical)
        if had and real == 0 then exit(user, queue) end
      end
      popped[user][queue] = got
    end
  end
  for i = 1, #order do
    local turn = order[i]
    local got = popped[turn.user][turn.queue]
    local id, score
    if turn.critical then
      got.c = got.c + 1
      id, score = got.critical[got.c], 'c' .. exact(next_us())
    else
      id, score = got.normal[got.n + 1], got.normal[got.n + 2]
      got.n = got.n + 2
    end
    if id then
      found[#found + 1] = {id = id, score = score, user = turn.user.name, queue = turn.queue, cost = turn.cost}
    else
      landed(turn.user)
      settle_place(turn.user, false)
    end
  end
end
