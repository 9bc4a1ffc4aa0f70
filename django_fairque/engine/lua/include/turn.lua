-- Take one turn from a source, and afterwards bring lanes and ready sets in line with all turns taken.
-- Used by claim.lua alone; turn_user and its sisters are the turns taken, found the tasks.
--@include serve

local taken, turns = {}, 0
local turn_user, turn_queue, turn_cost, turn_critical = {}, {}, {}, {}
local found_id, found_score, found_user, found_queue, found_cost = {}, {}, {}, {}, {}

-- The source whose user is next, looking from the one behind the last that was served: several queues,
-- and groups that lost their workers, take turns.
local function next_source(sources)
  local n, last = #sources, sources.last or 0
  for i = 1, n do
    local at = (last + i - 1) % n + 1
    local source = sources[at]
    local entry = head(source)
    while entry do
      local user = user_load(entry.name, source.queue)
      if user.queues[source.queue].n > 0 and may_run(user) then return source, at end
      if not taken[user] then
        -- It should not be here: heal the set.
        exit(user, source.queue)
        settle_place(user, false)
      end
      source.at = source.at + 1
      entry = head(source)
    end
  end
end

local function take_turn(source, by_time)
  local queue, entry = source.queue, source.entries[source.at]
  local user = users[entry.name]
  local lane, policy = user.queues[queue], user.policy
  local place = source.place or place_of(queue, user.group)
  local cost = by_time and math.max(user.est, 1) or 1
  local v = clock_get(place.v) + cost / math.max(clock_get(place.w), policy.weight)
  if lane.tag > v then v = lane.tag end
  clock_set(place.v, v)
  lane.tag = lane.tag + cost / policy.weight
  lane.n = lane.n - 1
  user.flight, user.n, user.dirty = user.flight + 1, user.n - 1, true
  if policy.rate > 0 then user.tat = math.max(user.tat, now) + policy.rate end
  turns = turns + 1
  turn_user[turns], turn_queue[turns], turn_cost[turns] = user, queue, cost
  local mine = taken[user]
  if not mine then
    mine = {}
    taken[user] = mine
  end
  local pops = mine[queue]
  if not pops then
    pops = {critical = 0, normal = 0}
    mine[queue] = pops
  end
  if lane.critical > 0 then
    lane.critical = lane.critical - 1
    pops.critical = pops.critical + 1
    turn_critical[turns] = true
  else
    pops.normal = pops.normal + 1
  end
  source.at = source.at + 1
  if lane.n > 0 and may_run(user) then
    pops.tag = after_ties(lane.tag)
    push(source, entry, pops.tag - entry.offset)
  else
    -- Gone from here now, so that the clock counts only those who can be served.
    pops.tag = nil
    if lane.n == 0 then user.waiting[queue] = nil end
    exit(user, queue)
  end
end

local function leave_ready()
  for user, mine in pairs(taken) do
    local may = may_run(user)
    for queue, pops in pairs(mine) do
      count('q:' .. queue, -(pops.critical + pops.normal))
      if pops.tag and may then redis.call('ZADD', place_of(queue, user.group).ready, 'XX', pops.tag, user.name) end
    end
    if not may then
      for queue in pairs(user.waiting) do exit(user, queue) end
      park(user)
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

-- The lanes hold less than was counted: believe the lanes.
local function recount(user, queue)
  local lane = user_queue(user, queue)
  local critical = redis.call('LLEN', lane_key(user.name, 'critical', queue))
  local real = critical + redis.call('ZCARD', lane_key(user.name, 'normal', queue))
  local had = lane.n > 0
  user.n = math.max(0, user.n + real - lane.n)
  waits(user, queue, real - lane.n, critical - lane.critical)
  if had and real == 0 then exit(user, queue) end
end

-- The tasks of all turns, in the order of the turns.
local function pop_lanes()
  local popped, phantoms = {}, {}
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
      if #got.critical < pops.critical or #got.normal < 2 * pops.normal then recount(user, queue) end
      popped[user][queue] = got
    end
  end
  local n = 0
  for i = 1, turns do
    local user, queue = turn_user[i], turn_queue[i]
    local got = popped[user][queue]
    local id, score
    if turn_critical[i] then
      got.c = got.c + 1
      id, score = got.critical[got.c], 'c' .. exact(next_us())
    else
      id, score = got.normal[got.n + 1], got.normal[got.n + 2]
      got.n = got.n + 2
    end
    if id then
      n = n + 1
      found_id[n], found_score[n], found_user[n], found_queue[n], found_cost[n] = id, score, user.name, queue, turn_cost[i]
    else
      landed(user)
      phantoms[#phantoms + 1] = user
    end
  end
  for i = 1, #phantoms do settle_place(phantoms[i], false) end
end
