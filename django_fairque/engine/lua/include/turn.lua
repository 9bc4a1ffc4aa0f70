-- Take one turn from a source, and afterwards bring lanes and ready sets in line with all turns taken.
-- Used by claim.lua and exchange.lua.
--@include serve

-- What was taken of one lane of one user is one table, and taken_of says whether a user had a turn.
local taken, taken_of, turns = {}, {}, 0
local turn_of, turn_cost, turn_critical = {}, {}, {}
local found_id, found_score, found_user, found_queue, found_cost = {}, {}, {}, {}, {}

-- The source whose user is next, looking from the one behind the last that was served: several queues,
-- and groups that lost their workers, take turns.
function fq.next_source(sources)
  local n, last = #sources, sources.last or 0
  for i = 1, n do
    local at = (last + i - 1) % n + 1
    local source = sources[at]
    local entry = fq.head(source)
    while entry do
      local user = fq.user_load(entry.name, source.queue)
      if user.queues[source.queue].n > 0 and fq.may_run(user) then return source, at end
      if not taken_of[user] then
        -- It should not be here: heal the set.
        fq.exit(user, source.queue)
        fq.settle_place(user, false)
      end
      source.at = source.at + 1
      entry = fq.head(source)
    end
  end
end

function fq.take_turn(source, by_time)
  local queue, entry = source.queue, source.entries[source.at]
  local user = users[entry.name]
  local lane, policy = user.queues[queue], user.policy
  local place = source.place or fq.place_of(queue, user.group)
  local cost = by_time and math.max(user.est, 1) or 1
  -- Others whose last task runs are still being served. Without them W is too small, the clock outruns the
  -- tags of the backlogged, and a newcomer waits behind turns that nobody owes them.
  local others = math.max(0, fq.clock_get('running') + turns - user.flight)
  local v = fq.clock_get(place.v) + cost / math.max(fq.clock_get(place.w) + others * policy.weight, policy.weight)
  if lane.tag > v then v = lane.tag end
  fq.clock_set(place.v, v)
  lane.tag = lane.tag + cost / policy.weight
  lane.n = lane.n - 1
  user.flight, user.n, user.dirty = user.flight + 1, user.n - 1, true
  if policy.rate > 0 then user.tat = math.max(user.tat, now) + policy.rate end
  turns = turns + 1
  local pops = lane.pops
  if not pops then
    pops = {user = user, queue = queue, lane = lane, critical = 0, normal = 0, tag = false, from_critical = false,
      from_normal = false, c = 0, k = 0}
    lane.pops, taken_of[user] = pops, true
    taken[#taken + 1] = pops
  end
  turn_of[turns], turn_cost[turns] = pops, cost
  if lane.critical > 0 then
    lane.critical = lane.critical - 1
    pops.critical = pops.critical + 1
    turn_critical[turns] = true
  else
    pops.normal = pops.normal + 1
  end
  source.at = source.at + 1
  if lane.n > 0 and fq.may_run(user) then
    pops.tag = fq.after_ties(lane.tag)
    fq.push(source, entry, pops.tag - entry.offset)
  else
    -- Gone from here now, so that the clock counts only those who can be served.
    pops.tag = false
    if lane.n == 0 then user.waiting[queue] = nil end
    fq.exit(user, queue)
  end
end

function fq.leave_ready()
  for i = 1, #taken do
    local pops = taken[i]
    local user = pops.user
    fq.count('q:' .. pops.queue, -(pops.critical + pops.normal))
    if pops.tag and fq.may_run(user) then
      redis.call('ZADD', fq.place_of(pops.queue, user.group).ready, 'XX', pops.tag, user.name)
    end
  end
  for user in pairs(taken_of) do
    if not fq.may_run(user) then
      for queue in pairs(user.waiting) do fq.exit(user, queue) end
      fq.park(user)
    end
  end
end

-- A lane that is no lane (somebody wrote there by hand) holds no task; it must not stop the others.
function fq.from_lane(key, pop, n)
  local got = redis.pcall(pop, key, n)
  if got and got.err then
    redis.call('DEL', key)
    return {}
  end
  return got or {}
end

-- The lanes hold less than was counted: believe the lanes.
function fq.recount(user, queue)
  local lane = fq.user_queue(user, queue)
  local critical = redis.call('LLEN', fq.lane_key(user.name, 'critical', queue))
  local real = critical + redis.call('ZCARD', fq.lane_key(user.name, 'normal', queue))
  local had = lane.n > 0
  user.n = math.max(0, user.n + real - lane.n)
  fq.waits(user, queue, real - lane.n, critical - lane.critical)
  if had and real == 0 then fq.exit(user, queue) end
end

-- The tasks of all turns, in the order of the turns.
function fq.pop_lanes()
  local n, phantoms = 0, {}
  for i = 1, #taken do
    local pops = taken[i]
    local name, queue, critical, normal = pops.user.name, pops.queue, pops.critical, pops.normal
    local short = false
    if critical > 0 then
      pops.from_critical = fq.from_lane(fq.lane_key(name, 'critical', queue), 'LPOP', critical)
      short = #pops.from_critical < critical
    end
    if normal > 0 then
      pops.from_normal = fq.from_lane(fq.lane_key(name, 'normal', queue), 'ZPOPMIN', normal)
      short = short or #pops.from_normal < 2 * normal
    end
    if short then fq.recount(pops.user, queue) end
  end
  for i = 1, turns do
    local pops, id, score = turn_of[i], nil, nil
    if turn_critical[i] then
      pops.c = pops.c + 1
      id, score = pops.from_critical[pops.c], 'c' .. fq.exact(fq.next_us())
    else
      local k = pops.k
      id, score = pops.from_normal[k + 1], pops.from_normal[k + 2]
      pops.k = k + 2
    end
    if id then
      n = n + 1
      found_id[n], found_score[n], found_user[n], found_queue[n] = id, score, pops.user.name, pops.queue
      found_cost[n] = turn_cost[i]
    else
      fq.landed(pops.user)
      phantoms[#phantoms + 1] = pops.user
    end
  end
  for i = 1, #phantoms do fq.settle_place(phantoms[i], false) end
end
