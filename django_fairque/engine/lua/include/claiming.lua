-- Give the worker the next tasks in fair order. What it asks for follows the terms: call, how many, floor of
-- the clock, then n and n queues, n and n home targets, n and n targets to steal from ("A" all groups,
-- "G<group>", "U<user>").
--@include terms
--@include turn
--@include held

local call, limit, floor = ARGV[TERMS + 1], tonumber(ARGV[TERMS + 2]), tonumber(ARGV[TERMS + 3])
local asked_to = TERMS + 4
local function list()
  local n, values, first = tonumber(ARGV[asked_to]), {}, asked_to + 1
  for i = 1, n do values[i] = ARGV[asked_to + i] end
  asked_to = asked_to + n + 1
  return values, first, asked_to - 1
end
local queues = list()
local _, home_first, home_last = list()
local _, steal_first, steal_last = list()
local home_group = string.sub(ARGV[home_first] or '', 1, 1) == 'G' and string.sub(ARGV[home_first], 2) or '*'
local place, last_call, last_source = fq.place_of(queues[1], home_group), 'call:' .. worker, 'turn:' .. worker
fq.clock_load('lt', 'seq', 'tick', 'grace', 'due', 'ng', 'running', place.v, place.w, 'q:' .. queues[1], last_call)

function fq.claim()
  local ends = redis.call('ZSCORE', base .. 'leases', worker)
  if not ends then return {'lost'} end
  fq.tick(lease_ms)
  if tonumber(ends) - now < lease_ms * 2 / 3 then
    redis.call('ZADD', base .. 'leases', now + lease_ms, worker)
  end

  local groups = {}
  if fq.clock_get('ng') > 0 then
    groups = redis.call('SMEMBERS', base .. 'groups')
    for i = home_first, home_last do
      local kind, name = string.sub(ARGV[i], 1, 1), string.sub(ARGV[i], 2)
      if kind ~= 'U' then
        local field = 'a:' .. (kind == 'G' and name or '*')
        if now - fq.clock_get(field) > 1000 then fq.clock_set(field, now) end
      end
    end
  end

  if fq.clock_get('due') <= now then
    --@include house
    fq.keep_house(max_deliveries, age_us, by_time)
  end

  if floor > fq.clock_get(place.v) then fq.clock_set(place.v, floor) end

  local more, again = false, fq.clock_get(last_call) == tonumber(call)
  if again then
    -- What else there is for it, its next call tells.
    more = true
    -- The reply to this call was lost: the worker gets what it holds from it.
    local held = redis.call('HGETALL', fq.held_key(worker))
    for i = 1, #held, 2 do
      local parts = fq.held_parts(held[i + 1])
      if parts.user and parts.call == call then
        local n = #found_id + 1
        found_id[n], found_queue[n], found_user[n] = held[i], parts.queue, parts.user
      end
    end
  elseif limit > 0 then
    local home = fq.sources_of(home_first, home_last, queues, groups, limit)
    local steal = fq.sources_of(steal_first, steal_last, queues, groups, limit)
    for i = 1, #steal do
      local source = steal[i]
      -- A group whose own workers are all dead is served like one's own.
      if source.group and #groups > 0 and now - fq.clock_get('a:' .. source.group) > ALIVE_MS then
        home[#home + 1] = source
      end
    end
    local several = #home > 1 or #steal > 1
    if several then
      home.last, steal.last = fq.clock_get(last_source) % 1000, math.floor(fq.clock_get(last_source) / 1000)
    end
    while turns < limit do
      local sources = home
      local source, served = fq.next_source(home)
      if not source then
        sources = steal
        source, served = fq.next_source(steal)
      end
      if not source then break end
      sources.last = served
      fq.take_turn(source, by_time)
    end
    if several and turns > 0 then fq.clock_set(last_source, (home.last or 0) % 1000 + 1000 * (steal.last or 0)) end
    if turns == limit then
      local source = fq.next_source(home) or fq.next_source(steal)
      if source then
        more = true
        -- One worker wakes the next while there is work for it.
        fq.rung((source.place or fq.place_of(source.queue, users[fq.head(source).name].group)).bell)
      end
    end
    fq.leave_ready()
    fq.pop_lanes()
  end

  local reply = {'ok', more and '1' or '', '', '', table.concat(groups, ':'), now_text}
  local held, k, h, token = {}, #reply, 0, worker .. ':' .. call
  local head_of_held = call .. '|' .. now_text .. '|'
  for i = 1, #found_id do
    local id, name, queue = found_id[i], found_user[i], found_queue[i]
    local key = fq.task_key(id)
    local v, w = redis.pcall('HMGET', key, 'n', 'p', 'e', 'x'), nil
    local payload = not v.err and v[2]
    if v[4] then
      w = redis.call('HMGET', key, 'pr', 'a', 'd', 'at', 'ws', 'b')
      if w[6] then
        payload = redis.pcall('GET', base .. 'body:' .. id)
        payload = type(payload) == 'string' and payload
      end
    end
    if not payload or not v[1] or not v[3] then
      -- The others go on; whoever keeps the house next buries this one.
      local user = fq.user_load(name, queue)
      local may = fq.may_run(user)
      if again and redis.call('HDEL', fq.held_key(worker), id) == 1 then fq.count('running', -1) end
      fq.landed(user)
      fq.settle_place(user, may)
      redis.call('RPUSH', base .. 'spoiled', id .. '|' .. queue .. '|' .. name)
      fq.due_by(now)
    else
      if not again then
        redis.call('HSET', key, 's', 'started', 'h', token, 'st', now_text)
        local flags = w and ((w[6] and 'b' or '') .. (w[2] and 'a' or '')) or ''
        held[h + 1] = id
        held[h + 2] = head_of_held .. flags .. '|' .. name .. '|' .. queue .. '|' .. found_cost[i] .. '|' .. found_score[i]
        h = h + 2
        -- How long a first attempt waited; later ones waited for their retry's delay.
        if not w then fq.stat_ms('w', now - v[3]) elseif not w[2] and not w[3] then fq.stat_ms('w', now - (w[4] or v[3])) end
      end
      reply[k + 1], reply[k + 2], reply[k + 3], reply[k + 4] = id, v[1], name, queue
      reply[k + 5], reply[k + 6], reply[k + 7] = payload, v[3], w and {w[1], w[2], w[3], w[4], w[5]} or false
      k = k + 7
    end
  end
  for i = 1, h, 1000 do
    redis.call('HSET', fq.held_key(worker), unpack(held, i, math.min(i + 999, h)))
  end
  if h > 0 then
    fq.clock_set(last_call, tonumber(call))
    fq.stat('started', h / 2)
    fq.count('running', h / 2)
  end
  local due = fq.clock_get('due')
  reply[3] = fq.exact(due > now and due - now or 0)
  return reply
end
