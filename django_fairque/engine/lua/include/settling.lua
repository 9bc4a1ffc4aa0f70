-- Record how attempts ended, for tasks the worker still holds. The verdicts are ARGV[first] to its end.
--@include terms
--@include requeue

-- The estimate was charged at the claim; the real cost is known now. A refund never goes below V.
function fq.charge(user, queue, estimated, ran_ms)
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

local function expire(key) redis.call('PEXPIRE', key, ARGV[10]) end

-- A user without anything special (no cap above all) that has other tasks stays where it is: one counter
-- changes. Whether that was so. Loading the user costs more, and pays only where a turn of it follows.
function fq.landed_plainly(landing)
  local key = base .. 'user:' .. landing.name
  local v = redis.call('HMGET', key, 'n', 'f', 'x')
  if not v[1] or v[3] or v[1] + (v[2] or 0) - landing.n <= 0 or tonumber(v[2] or 0) < landing.n then return false end
  redis.call('HINCRBY', key, 'f', -landing.n)
  return true
end

-- The attempts of one user land together, in the order of their first.
function fq.land(landings, turns_follow)
  for i = 1, #landings do
    local landing = landings[i]
    if turns_follow or users[landing.name] or not fq.landed_plainly(landing) then
      local user = fq.user_load(landing.name, landing.queue)
      local may = fq.may_run(user)
      user.flight, user.dirty = math.max(user.flight - landing.n, 0), true
      fq.settle_place(user, may)
    end
  end
end

function fq.settle(first, turns_follow)
  local held_here, landings = fq.held_key(worker), {}
  local ids, values, at = {}, {}, 0
  for i = first, #ARGV, 5 do ids[#ids + 1] = ARGV[i] end
  for i = 1, #ids, 1000 do
    local some = redis.call('HMGET', held_here, unpack(ids, i, math.min(i + 999, #ids)))
    for j = 1, #some do values[i + j - 1] = some[j] end
  end

  local reply, ended, finished = {}, {}, {}
  for i = first, #ARGV, 5 do
    local id, call, outcome, text, number = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    at = at + 1
    local value = values[at]
    local its_call, start, flags, name, queue = string.match(value or '', '^(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)')
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
          redis.call('SET', base .. 'result:' .. id, text, 'PX', ARGV[10])
        end
        expire(key)
        if flags ~= '' then
          expire(base .. 'body:' .. id)
          expire(base .. 'errors:' .. id)
        end
        finished[#finished + 1] = now_text
        finished[#finished + 1] = id
        fq.stat_ms('r', ran)
        if by_time then fq.charge(fq.user_load(name, queue), queue, fq.held_parts(value).est, ran) end
        local landing = landings[name]
        if not landing then
          landing = {name = name, queue = queue, n = 0}
          landings[name] = landing
          landings[#landings + 1] = landing
        end
        landing.n = landing.n + 1
      else
        local held = fq.held_parts(value)
        local user = fq.user_load(name, queue)
        local may = fq.may_run(user)
        fq.landed(user)
        if by_time and outcome ~= 'release' then fq.charge(user, queue, held.est, ran) end
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
          fq.remember_run(id, worker, start)
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
  fq.land(landings, turns_follow)
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
    if redis.call('ZCARD', fq.state_key('finished')) > tonumber(ARGV[11]) then
      fq.trim('finished', tonumber(ARGV[11]), tonumber(ARGV[10]), 2 * #ended + 16)
    end
  end
  return reply
end
