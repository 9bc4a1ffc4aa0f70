#!lua flags=allow-oom
-- Record how attempts ended, for tasks this worker still holds.
--
-- KEYS   base
-- ARGV   now ms or "", worker, result TTL ms, TTL of failed ms, how many finished are kept, how many dead
--        letters, "turns" or "time", debt limit, then for each attempt {id, call, outcome, text, number}:
--        "finish" result; "retry" error, delay ms; "bury" error, reason; "release"; "park" reason, delay ms
-- Reply  for each attempt "ok", or "lost" when the task belongs to somebody else by now
-- Holds  an outcome counts once: the same one again answers "ok" and changes nothing

--@include requeue

local worker, result_ttl = ARGV[2], ARGV[3]
local finished_limit, by_time = tonumber(ARGV[5]), ARGV[7] == 'time'
failed_ttl_ms, dead_letter_limit, debt_limit = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[8])
fq.clock_load('lt', 'seq', 'due', 'running')

local function expire(key) redis.call('PEXPIRE', key, result_ttl) end

-- The estimate was charged at the claim; the real cost is known now. A refund never goes below V.
local function charge(user, queue, estimated, ran_ms)
  local extra, lane, place = ran_ms - estimated, fq.user_queue(user, queue), fq.place_of(queue, user.group)
  if extra < 0 then
    fq.refund(user, queue, -extra)
  else
    local most = fq.clock_get(place.v) + debt_limit / user.policy.weight
    lane.tag = math.max(lane.tag, math.min(lane.tag + extra / user.policy.weight, most))
    redis.call('ZADD', place.ready, 'XX', fq.after_ties(lane.tag), user.name)
  end
  user.est = user.est > 0 and user.est + 0.2 * (ran_ms - user.est) or math.max(ran_ms, 1)
  user.dirty = true
end

-- Most attempts finish, of users without a cap, and others of them go on: then one counter changes, and
-- the user itself need not be read.
local landings = {}

local function land_all()
  for name, n in pairs(landings) do
    local user = users[name]
    local v = not user and redis.call('HMGET', base .. 'user:' .. name, 'n', 'f', 'x') or nil
    if v and not by_time and v[3] ~= 'c' and tonumber(v[1] or 0) + tonumber(v[2] or 0) - n > 0 then
      redis.call('HINCRBY', base .. 'user:' .. name, 'f', -n)
    else
      user = fq.user_load(name)
      local may = fq.may_run(user)
      for _ = 1, n do fq.landed(user) end
      fq.settle_place(user, may)
    end
  end
end

local held_here = fq.held_key(worker)
local ids, values, at = {}, {}, 0
for i = 9, #ARGV, 5 do ids[#ids + 1] = ARGV[i] end
for i = 1, #ids, 1000 do
  local some = redis.call('HMGET', held_here, unpack(ids, i, math.min(i + 999, #ids)))
  for j = 1, #some do values[i + j - 1] = some[j] end
end

local reply, ended, finished = {}, {}, {}
for i = 9, #ARGV, 5 do
  local id, call, outcome, text, number = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  at = at + 1
  local value = values[at]
  local its_call, start, flags, name = string.match(value or '', '^(%d+)|(%d+)|([^|]*)|([^|]*)')
  if its_call ~= call or ended[id] then
    local v = redis.call('HMGET', fq.task_key(id), 'h', 's')
    reply[at] = v[1] == worker .. ':' .. call and v[2] ~= 'started' and 'ok' or 'lost'
  else
    reply[at] = 'ok'
    ended[#ended + 1] = id
    ended[id] = true
    local key, ran = fq.task_key(id), math.max(now - start, 0)
    if outcome == 'finish' then
      if #text <= INLINE then
        redis.call('HSET', key, 's', 'finished', 'ft', now_text, 'r', text)
      else
        redis.call('HSET', key, 's', 'finished', 'ft', now_text, 'rb', #text)
        redis.call('SET', base .. 'result:' .. id, text, 'PX', result_ttl)
      end
      expire(key)
      if flags ~= '' then
        expire(base .. 'body:' .. id)
        expire(base .. 'errors:' .. id)
      end
      finished[#finished + 1] = now_text
      finished[#finished + 1] = id
      fq.stat_ms('r', ran)
      if by_time then
        local held = fq.held_parts(value)
        charge(fq.user_load(name, held.queue), held.queue, held.est, ran)
      end
      landings[name] = (landings[name] or 0) + 1
    else
      local held = fq.held_parts(value)
      local queue = held.queue
      local user = fq.user_load(name, queue)
      local may = fq.may_run(user)
      fq.landed(user)
      if by_time and outcome ~= 'release' then charge(user, queue, held.est, ran) end
      if outcome == 'release' then
        fq.refund(user, queue, held.est)
        fq.settle_place(user, may)
        redis.call('HDEL', key, 'st')
        fq.back(user, id, queue, held.score)
      elseif outcome == 'park' then
        redis.call('HSET', key, 'rs', text)
        fq.settle_place(user, may)
        fq.not_before(user, id, queue, now + tonumber(number))
      else
        fq.remember_run(id, worker, held.start)
        redis.call('HINCRBY', key, 'a', 1)
        if text ~= '' then redis.call('RPUSH', base .. 'errors:' .. id, text) end
        fq.stat_ms('r', ran)
        fq.settle_place(user, may)
        if outcome == 'retry' then
          fq.stat('retried', 1)
          fq.not_before(user, id, queue, now + math.max(tonumber(number), 0))
        else
          fq.bury(id, number)
        end
      end
    end
  end
end
land_all()
fq.back_in_line()
for i = 1, #ended, 1000 do
  redis.call('HDEL', held_here, unpack(ended, i, math.min(i + 999, #ended)))
end
for i = 1, #finished, 1000 do
  redis.call('ZADD', fq.state_key('finished'), unpack(finished, i, math.min(i + 999, #finished)))
end
if #finished > 0 then fq.stat('finished', #finished / 2) end
if #ended > 0 then
  fq.count('running', -#ended)
  if redis.call('ZCARD', fq.state_key('finished')) > finished_limit then
    fq.trim('finished', finished_limit, tonumber(result_ttl), 2 * #ended + 16)
  end
  fq.users_save()
  fq.clock_save()
  fq.counts_save()
end
return reply
