-- Back into a lane, into the scheduled set, or out of the queue for good.
--@include user

local failed_ttl_ms, dead_letter_limit = 2592000000, 100000

-- A held task is <call>|<start ms>|<estimated ms>|<flags>|<lane score or c>|<queue>|<user>.
local function held_parts(value)
  local call, start, est, flags, score, queue, user =
    string.match(value, '^(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$')
  return {
    call = call, start = tonumber(start), est = tonumber(est), flags = flags or '', score = score,
    queue = queue, user = user,
  }
end

-- A run ended without an outcome: keep who had it and when it first started.
local function remember_run(id, worker, start)
  local key = task_key(id)
  local v = redis.call('HMGET', key, 'ws', 's1')
  local args = {'ws', v[1] and (v[1] .. ',' .. worker) or worker}
  if not v[2] then
    args[3], args[4] = 's1', exact(start)
  end
  redis.call('HSET', key, unpack(args))
end

-- The same place as before: the front of the critical lane, its old score in the normal one.
local function back(user, id, queue, score)
  local may, had = may_run(user), user_queue(user, queue).n > 0
  redis.call('HDEL', task_key(id), 's')
  if score == 'c' then
    redis.call('LPUSH', lane_key(user.name, 'critical', queue), id)
  else
    redis.call('ZADD', lane_key(user.name, 'normal', queue), score, id)
  end
  user.n = user.n + 1
  waits(user, queue, 1, score == 'c' and 1 or 0)
  settle_place(user, may, queue, had)
end

local function not_before(user, id, queue, at_ms)
  redis.call('HSET', task_key(id), 's', 'scheduled')
  local key = state_key('scheduled')
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local due = at_ms * 1000 + next_us() % 1000
  redis.call('ZADD', key, exact(due), id)
  if not first[2] or tonumber(first[2]) > due then rung(queue, user.group) end
  user.n, user.dirty = user.n + 1, true
end

local function forget(id)
  redis.call('UNLINK', task_key(id), base .. 'body:' .. id, base .. 'result:' .. id, base .. 'errors:' .. id)
end

-- Oldest first, a bounded number a call, each with everything that belongs to it.
local function trim(state, limit, ttl_ms, most)
  local key = state_key(state)
  local old = redis.call('ZRANGEBYSCORE', key, '-inf', exact(now - ttl_ms), 'LIMIT', 0, most)
  for i = 1, #old do forget(old[i]) end
  if #old > 0 then redis.call('ZREM', key, unpack(old)) end
  local over = redis.call('ZCARD', key) - limit
  if over > 0 then
    local out = redis.call('ZPOPMIN', key, over < most and over or most)
    for i = 1, #out, 2 do forget(out[i]) end
    return #out / 2
  end
  return 0
end

-- Among the dead letters, for the user's and the operator's eyes; errors and arguments stay readable.
local function bury(id, reason)
  local key, ttl = task_key(id), exact(failed_ttl_ms)
  redis.call('HSET', key, 's', 'failed', 'rs', reason, 'ft', exact(now))
  redis.call('PEXPIRE', key, ttl)
  redis.call('PEXPIRE', base .. 'body:' .. id, ttl)
  redis.call('PEXPIRE', base .. 'errors:' .. id, ttl)
  redis.call('ZADD', state_key('failed'), exact(now), id)
  count('dropped', trim('failed', dead_letter_limit, failed_ttl_ms, 16))
  stat('failed', 1)
end

-- One flight less.
local function landed(user)
  if user.flight > 0 then user.flight = user.flight - 1 end
  user.dirty = true
end

-- Take back up to `most` tasks of a worker that is dead for ever. How many were taken back.
local function take_back(worker, most, max_deliveries)
  local key = held_key(worker)
  local some = redis.call('HRANDFIELD', key, most, 'WITHVALUES')
  for i = 1, #some, 2 do
    local id, held = some[i], held_parts(some[i + 1])
    local user = user_load(held.user, held.queue)
    local may = may_run(user)
    landed(user)
    count('running', -1)
    redis.call('HDEL', key, id)
    remember_run(id, worker, held.start)
    redis.call('HDEL', task_key(id), 'h')
    local lost = redis.call('HINCRBY', task_key(id), 'd', 1)
    if lost >= max_deliveries then
      bury(id, 'its worker was lost ' .. exact(lost) .. ' times')
      settle_place(user, may)
    else
      settle_place(user, may)
      back(user, id, held.queue, held.score)
    end
    stat('recovered', 1)
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', base .. 'dead', worker)
    redis.call('DEL', base .. 'worker:' .. worker)
  end
  return #some / 2
end

-- An incarnation without a lease is dead for ever.
local function declare_dead(worker)
  redis.call('ZREM', base .. 'leases', worker)
  redis.call('ZADD', base .. 'dead', exact(now), worker)
end

-- What a claim does for everybody, so that no extra process is needed: bounded, and one command where
-- there is nothing to do.
local function recover_expired(most, max_deliveries)
  local taken = 0
  if now >= clock_get('grace') then
    local ended = redis.call('ZRANGEBYSCORE', base .. 'leases', '-inf', exact(now), 'LIMIT', 0, 8)
    for i = 1, #ended do declare_dead(ended[i]) end
  end
  for _, worker in ipairs(redis.call('ZRANGE', base .. 'dead', 0, 3)) do
    if taken < most then taken = taken + take_back(worker, most - taken, max_deliveries) end
  end
  return taken
end

-- Scheduled tasks that are due go to their lanes, in the order in which they became due.
local function promote(most, age_us)
  local key = state_key('scheduled')
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', exact(now * 1000 + 999), 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #due, 2 do
    local id = due[i]
    local v = redis.call('HMGET', task_key(id), 'u', 'q', 'pr')
    redis.call('ZREM', key, id)
    if v[1] then
      local queue = v[2] or 'default'
      local user = user_load(v[1], queue)
      user.n = user.n - 1
      local score = 'c'
      if v[3] ~= 'c' then score = exact(tonumber(due[i + 1]) - tonumber(v[3] or 0) * age_us) end
      if score == 'c' then
        -- Behind the critical tasks that wait already.
        local may, had = may_run(user), user_queue(user, queue).n > 0
        redis.call('HDEL', task_key(id), 's')
        redis.call('RPUSH', lane_key(user.name, 'critical', queue), id)
        user.n = user.n + 1
        waits(user, queue, 1, 1)
        settle_place(user, may, queue, had)
      else
        back(user, id, queue, score)
      end
    end
  end
end

-- Users whose rate lets them start again.
local function wake(most)
  local key = base .. 'wake'
  local names = redis.call('ZRANGEBYSCORE', key, '-inf', exact(now), 'LIMIT', 0, most)
  if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  for i = 1, #names do
    local user = user_load(names[i])
    for queue in pairs(user.waiting) do user_queue(user, queue) end
    settle_place(user, false)
  end
end
