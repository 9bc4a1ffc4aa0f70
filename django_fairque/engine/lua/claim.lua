#!lua flags=allow-oom
-- Give a worker the next tasks in fair order, at most as many as it has free slots.
--
-- KEYS   base
-- ARGV   now ms or "", worker, call, how many, lease ms, max deliveries, "turns" or "time", debt limit,
--        microseconds of age a priority is worth, floor of the clock, then n and n queues, n and n home
--        targets, n and n targets to steal from ("A" all groups, "G<group>", "U<user>")
-- Reply  {"lost"}, or {"ok", "1" when others are ready still, ms until something becomes due or "",
--        clock, groups joined by ":", now ms, then 11 values a task: id, name, user, queue, priority, payload or
--        false, failed attempts, lost runs, enqueued ms, due ms or false, earlier workers or false}
-- Holds  a task is charged to its user before it runs; the same call again gives the same tasks again

--@include serve
--@include requeue

local worker, call, limit, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local max_deliveries, by_time, age_us = tonumber(ARGV[6]), ARGV[7] == 'time', tonumber(ARGV[9])
debt_limit = tonumber(ARGV[8])
local at = 11
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
clock_load('lt', 'seq', 'tick', 'grace', 'v:' .. place, 'w:' .. place)
tick(lease_ms)
if tonumber(ends) - now < lease_ms * 2 / 3 then
  redis.call('ZADD', base .. 'leases', exact(now + lease_ms), worker)
end

local groups = redis.call('SMEMBERS', base .. 'groups')
for i = home_first, home_last do
  local kind, name = string.sub(ARGV[i], 1, 1), string.sub(ARGV[i], 2)
  if kind ~= 'U' and #groups > 0 then
    local field = 'a:' .. (kind == 'G' and name or '*')
    if now - clock_get(field) > 1000 then clock_set(field, now) end
  end
end

recover_expired(256, max_deliveries)
promote(256, age_us)
wake(2 * limit + 16)

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
  local turn = clock_get('seq')
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

local reply = {'ok', more and '1' or '', '', '', table.concat(groups, ':'), exact(now)}
local held = {}
for i = 1, #found do
  local task = found[i]
  local key = task_key(task.id)
  local v = redis.pcall('HMGET', key, 'n', 'pr', 'p', 'b', 'a', 'd', 'e', 'at', 'ws', 'u')
  local payload = not v.err and v[3]
  if not v.err and v[4] then payload = redis.call('GET', base .. 'body:' .. task.id) end
  if v.err or not v[1] or not payload or not v[7] then
    -- Garbage, or a task without a body: it goes to the dead letters, and the others go on.
    local user = user_load(task.user, task.queue)
    if v.err then redis.call('DEL', key) end
    redis.call('HSET', key, 'u', task.user, 'q', task.queue)
    if again then redis.call('HDEL', held_key(worker), task.id) end
    local may = may_run(user)
    landed(user)
    bury(task.id, 'corrupt: its record in Redis is incomplete')
    settle_place(user, may)
  else
    local attempts, lost = v[5] or '0', v[6] or '0'
    if not again then
      redis.call('HSET', key, 's', 'started', 'h', worker .. ':' .. call, 'st', exact(now))
      local flags = (v[4] and 'b' or '') .. (v[5] and 'a' or '')
      held[#held + 1] = task.id
      held[#held + 1] = table.concat(
        {call, exact(now), exact(task.cost), flags, task.score, task.queue, task.user}, '|')
      stat_ms('w', now - tonumber(v[8] or v[7]))
    end
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4], reply[n + 5] = task.id, v[1], task.user, task.queue, v[2] or '0'
    reply[n + 6], reply[n + 7], reply[n + 8], reply[n + 9] = payload, attempts, lost, v[7]
    reply[n + 10], reply[n + 11] = v[8], v[9]
    count('running', again and 0 or 1)
  end
end
for i = 1, #held, 1000 do
  redis.call('HSET', held_key(worker), unpack(held, i, math.min(i + 999, #held)))
end
if #held > 0 then
  redis.call('HSET', base .. 'worker:' .. worker, 'call', call)
  stat('started', #held / 2)
end
if #order < limit and not again then
  local due = redis.call('ZRANGE', state_key('scheduled'), 0, 0, 'WITHSCORES')
  local woken = redis.call('ZRANGE', base .. 'wake', 0, 0, 'WITHSCORES')
  local first
  if due[2] then first = math.floor(tonumber(due[2]) / 1000) end
  if woken[2] and (not first or tonumber(woken[2]) < first) then first = math.ceil(tonumber(woken[2])) end
  if first then reply[3] = exact(first > now and first - now or 0) end
end
users_save()
clock_save()
counts_save()
reply[4] = exact(clock_get('v:' .. place))
return reply
