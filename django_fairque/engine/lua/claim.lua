#!lua flags=allow-oom
-- Give a worker the next tasks in fair order, at most as many as it has free slots.
--
-- KEYS   base
-- ARGV   now ms or "", worker, call, how many, lease ms, max deliveries, "turns" or "time", debt limit,
--        microseconds of age a priority is worth, floor of the clock, TTL of failed ms, how many dead letters,
--        then n and n queues, n and n home targets, n and n targets to steal from ("A" all groups, "G<group>", "U<user>")
-- Reply  {"lost"}, or {"ok", "1" when others are ready still, ms until something may be due or "",
--        clock, groups joined by ":", now ms, then 11 values a task: id, name, user, queue, priority, payload or
--        false, failed attempts, lost runs, enqueued ms, due ms or false, earlier workers or false}
-- Holds  a task is charged to its user before it runs; the same call again gives the same tasks again

--@include serve
--@include held

local worker, call, limit, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local max_deliveries, by_time, age_us = tonumber(ARGV[6]), ARGV[7] == 'time', tonumber(ARGV[9])
debt_limit = tonumber(ARGV[8])
local at = 13
local function list()
  local n, values = tonumber(ARGV[at]), {}
  for i = 1, n do values[i] = ARGV[at + i] end
  at = at + n + 1
  return values, at - n, at - 1
end
local queues = list()
local _, home_first, home_last = list()
local _, steal_first, steal_last = list()

local ends = redis.call('ZSCORE', base .. 'leases', worker)
if not ends then return {'lost'} end

local home_group = string.sub(ARGV[home_first] or '', 1, 1) == 'G' and string.sub(ARGV[home_first], 2) or '*'
local place = queues[1] .. ':' .. home_group
clock_load('lt', 'seq', 'tick', 'grace', 'due', 'ng', 'running', 'v:' .. place, 'w:' .. place, 'q:' .. queues[1])
tick(lease_ms)
if tonumber(ends) - now < lease_ms * 2 / 3 then
  redis.call('ZADD', base .. 'leases', exact(now + lease_ms), worker)
end

local groups = {}
if clock_get('ng') > 0 then
  groups = redis.call('SMEMBERS', base .. 'groups')
  for i = home_first, home_last do
    local kind, name = string.sub(ARGV[i], 1, 1), string.sub(ARGV[i], 2)
    if kind ~= 'U' then
      local field = 'a:' .. (kind == 'G' and name or '*')
      if now - clock_get(field) > 1000 then clock_set(field, now) end
    end
  end
end

if clock_get('due') <= now then
  --@include house
  failed_ttl_ms, dead_letter_limit = tonumber(ARGV[11]), tonumber(ARGV[12])
  keep_house(max_deliveries, age_us)
end

local floor = tonumber(ARGV[10])
if floor > clock_get('v:' .. place) then clock_set('v:' .. place, floor) end

local found, taken, order, more = {}, {}, {}, false
local again = redis.call('HGET', base .. 'worker:' .. worker, 'call') == call
if again then
  -- The reply to this call was lost: the worker gets what it holds from it.
  local held = redis.call('HGETALL', held_key(worker))
  for i = 1, #held, 2 do
    local parts = held_parts(held[i + 1])
    if parts.call == call then found[#found + 1] = {id = held[i], queue = parts.queue, user = parts.user} end
  end
end

--@include turn

local started = {}
if not again and limit > 0 then
  local home = sources_of(home_first, home_last, queues, groups, limit)
  local steal = sources_of(steal_first, steal_last, queues, groups, limit)
  for i = 1, #steal do
    local source = steal[i]
    -- A group whose own workers are all dead is served like one's own.
    if source.group and #groups > 0 and now - clock_get('a:' .. source.group) > ALIVE_MS then
      home[#home + 1] = source
    end
  end
  local turn = 0
  if #home > 1 or #steal > 1 then
    turn = clock_get('turn')
    clock_set('turn', (turn + limit) % 1000003)
  end
  while #order < limit do
    local source = next_source(home, turn + #order) or next_source(steal, turn + #order)
    if not source then break end
    take_turn(source, by_time)
  end
  if #order == limit then
    local source = next_source(home, 0) or next_source(steal, 0)
    if source then
      more = true
      -- One worker wakes the next while there is work for it.
      rung(source.queue, source.group or users[head(source).name].group)
    end
  end
  leave_ready()
  pop_lanes()
end

local reply = {'ok', more and '1' or '', '', '', table.concat(groups, ':'), now_text}
local held, k, h, token = {}, #reply, 0, worker .. ':' .. call
for i = 1, #found do
  local task = found[i]
  local id, key = task.id, task_key(task.id)
  local v = redis.pcall('HMGET', key, 'n', 'pr', 'p', 'b', 'a', 'd', 'e', 'at', 'ws')
  local payload = not v.err and v[3]
  if not v.err and v[4] then payload = redis.call('GET', base .. 'body:' .. id) end
  if not payload or not v[1] or not v[7] then
    -- The others go on; whoever keeps the house next buries this one.
    local user = user_load(task.user, task.queue)
    local may = may_run(user)
    if again and redis.call('HDEL', held_key(worker), id) == 1 then count('running', -1) end
    landed(user)
    settle_place(user, may)
    redis.call('RPUSH', base .. 'spoiled', id .. '|' .. task.queue .. '|' .. task.user)
    due_by(now)
  else
    if not again then
      redis.call('HSET', key, 's', 'started', 'h', token, 'st', now_text)
      held[h + 1] = id
      held[h + 2] = call .. '|' .. now_text .. '|' .. task.cost .. '|' .. (v[4] and 'b' or '') .. (v[5] and 'a' or '')
        .. '|' .. task.score .. '|' .. task.queue .. '|' .. task.user
      h = h + 2
      -- How long a first attempt waited; later ones waited for their retry's delay.
      if not v[5] and not v[6] then stat_ms('w', now - (v[8] or v[7])) end
    end
    reply[k + 1], reply[k + 2], reply[k + 3], reply[k + 4], reply[k + 5] = id, v[1], task.user, task.queue, v[2] or '0'
    reply[k + 6], reply[k + 7], reply[k + 8], reply[k + 9] = payload, v[5] or '0', v[6] or '0', v[7]
    reply[k + 10], reply[k + 11] = v[8], v[9]
    k = k + 11
  end
end
for i = 1, h, 1000 do
  redis.call('HSET', held_key(worker), unpack(held, i, math.min(i + 999, h)))
end
if h > 0 then
  redis.call('HSET', base .. 'worker:' .. worker, 'call', call)
  stat('started', h / 2)
  count('running', h / 2)
end
if #order < limit and not again then
  local due = clock_get('due')
  reply[3] = exact(due > now and due - now or 0)
end
users_save()
clock_save()
counts_save()
reply[4] = exact(clock_get('v:' .. place))
return reply
