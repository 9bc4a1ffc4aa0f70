-- What claims do for everybody, so that no extra process is needed: take back the tasks of dead workers,
-- promote what is due, wake users whose rate allows a start, bury what turned out to be garbage.
-- Bounded, and entered only when the clock field `due` has come.
--@include requeue

-- Take back up to `most` tasks of a worker that is dead for ever. How many were taken back.
local function take_back(worker, most, max_deliveries, by_time)
  local key = held_key(worker)
  local some = redis.call('HRANDFIELD', key, most, 'WITHVALUES')
  for i = 1, #some, 2 do
    local id, held = some[i], held_parts(some[i + 1])
    local user = user_load(held.user, held.queue)
    local may = may_run(user)
    -- Its worker's death is not the user's fault: it pays for the time that was used, no more.
    if by_time then refund(user, held.queue, held.est - (now - held.start)) end
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
  back_in_line()
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', base .. 'dead', worker)
    redis.call('ZADD', base .. 'gone', now_text, worker)
    redis.call('DEL', base .. 'worker:' .. worker)
    redis.call('HDEL', clock_key, 'call:' .. worker, 'turn:' .. worker)
  end
  return #some / 2
end

-- An incarnation without a lease is dead for ever.
local function declare_dead(worker)
  redis.call('ZREM', base .. 'leases', worker)
  redis.call('ZADD', base .. 'dead', now_text, worker)
  due_by(now)
end

local function recover_expired(most, max_deliveries, by_time)
  local taken = 0
  if now >= clock_get('grace') then
    local ended = redis.call('ZRANGEBYSCORE', base .. 'leases', '-inf', now_text, 'LIMIT', 0, 8)
    for i = 1, #ended do declare_dead(ended[i]) end
  end
  for _, worker in ipairs(redis.call('ZRANGE', base .. 'dead', 0, 63)) do
    if taken < most then taken = taken + take_back(worker, most - taken, max_deliveries, by_time) end
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
  local names = redis.call('ZRANGEBYSCORE', key, '-inf', now_text, 'LIMIT', 0, most)
  if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  for i = 1, #names do
    local user = user_load(names[i])
    for queue in pairs(user.waiting) do user_queue(user, queue) end
    settle_place(user, false)
  end
end

-- Garbage that a claim came upon: a record in the dead letters says what was there.
local function bury_spoiled(most)
  local spoiled = redis.call('LPOP', base .. 'spoiled', most) or {}
  for i = 1, #spoiled do
    local id, queue, user = string.match(spoiled[i], '^(.*)|([^|]*)|([^|]*)$')
    local key = task_key(id)
    if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
    redis.call('HSET', key, 'u', user, 'q', queue)
    bury(id, 'corrupt: its record in Redis is incomplete')
  end
end

local function first_of(key, scale)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  return head and math.floor(tonumber(head) / scale)
end

-- When something will be due again, as far as one can know; a minute at the latest.
local function next_due()
  local due = now + 60000
  local ends = first_of(base .. 'leases', 1)
  if ends then due = math.min(due, math.max(ends, clock_get('grace'))) end
  due = math.min(due, first_of(state_key('scheduled'), 1000) or due, first_of(base .. 'wake', 1) or due)
  if redis.call('EXISTS', base .. 'dead', base .. 'spoiled') > 0 then due = now end
  clock_set('due', due)
end

local function keep_house(max_deliveries, age_us, by_time)
  local taken = recover_expired(256, max_deliveries, by_time)
  promote(256, age_us)
  wake(256)
  bury_spoiled(64)
  next_due()
  return taken
end
