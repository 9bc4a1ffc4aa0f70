-- What claims do for everybody, so that no extra process is needed: take back the tasks of dead workers,
-- promote what is due, wake users whose rate allows a start, bury what turned out to be garbage.
-- Bounded, and entered only when the clock field `due` has come.
--@include requeue

-- Take back up to `most` tasks of a worker that is dead for ever. How many were taken back.
function fq.take_back(worker, most, max_deliveries, by_time)
  local key = fq.held_key(worker)
  -- All at once where that is bounded: critical tasks go back in their order only within one call.
  local all = redis.call('HLEN', key) <= most
  local some = all and redis.call('HGETALL', key) or redis.call('HRANDFIELD', key, most, 'WITHVALUES')
  for i = 1, #some, 2 do
    local id, held = some[i], fq.held_parts(some[i + 1])
    redis.call('HDEL', key, id)
    fq.count('running', -1)
    if not held.user then
      -- Not written by a claim. Whoever it belonged to, it must not stop the others.
      redis.call('RPUSH', base .. 'spoiled', id .. '||')
    else
      local user = fq.user_load(held.user, held.queue)
      local may = fq.may_run(user)
      -- Its worker's death is not the user's fault: it pays for the time that was used, no more.
      if by_time then fq.refund(user, held.queue, held.est - (now - held.start)) end
      fq.landed(user)
      fq.remember_run(id, worker, held.start)
      redis.call('HDEL', fq.task_key(id), 'h')
      local lost = redis.call('HINCRBY', fq.task_key(id), 'd', 1)
      if lost >= max_deliveries then
        fq.bury(id, 'its worker was lost ' .. fq.exact(lost) .. ' times')
        fq.settle_place(user, may)
      else
        fq.settle_place(user, may)
        fq.back(user, id, held.queue, held.score)
      end
      fq.stat('recovered', 1)
    end
  end
  fq.back_in_line()
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', base .. 'dead', worker)
    redis.call('ZADD', base .. 'gone', now_text, worker)
    redis.call('DEL', base .. 'worker:' .. worker)
    redis.call('HDEL', clock_key, 'call:' .. worker, 'turn:' .. worker)
  end
  return #some / 2
end

-- An incarnation without a lease is dead for ever.
function fq.declare_dead(worker)
  redis.call('ZREM', base .. 'leases', worker)
  redis.call('ZADD', base .. 'dead', now_text, worker)
  fq.due_by(now)
end

function fq.recover_expired(most, max_deliveries, by_time)
  local taken = 0
  if now >= fq.clock_get('grace') then
    local ended = redis.call('ZRANGEBYSCORE', base .. 'leases', '-inf', now_text, 'LIMIT', 0, 8)
    for i = 1, #ended do fq.declare_dead(ended[i]) end
  end
  for _, worker in ipairs(redis.call('ZRANGE', base .. 'dead', 0, 63)) do
    if taken < most then taken = taken + fq.take_back(worker, most - taken, max_deliveries, by_time) end
  end
  return taken
end

-- Scheduled tasks that are due go to their lanes, in the order in which they became due.
function fq.promote(most, age_us)
  local key = fq.state_key('scheduled')
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', fq.exact(now * 1000 + 999), 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #due, 2 do
    local id = due[i]
    local v = redis.call('HMGET', fq.task_key(id), 'u', 'q', 'pr')
    redis.call('ZREM', key, id)
    if v[1] then
      local queue = v[2] or 'default'
      local user = fq.user_load(v[1], queue)
      user.n = user.n - 1
      local score = 'c'
      if v[3] ~= 'c' then score = fq.exact(tonumber(due[i + 1]) - tonumber(v[3] or 0) * age_us) end
      if score == 'c' then
        -- Behind the critical tasks that wait already.
        local may, had = fq.may_run(user), fq.user_queue(user, queue).n > 0
        redis.call('HDEL', fq.task_key(id), 's')
        redis.call('RPUSH', fq.lane_key(user.name, 'critical', queue), id)
        user.n = user.n + 1
        fq.waits(user, queue, 1, 1)
        fq.settle_place(user, may, queue, had)
      else
        fq.back(user, id, queue, score)
      end
    end
  end
end

-- Users whose rate lets them start again.
function fq.wake(most)
  local key = base .. 'wake'
  local names = redis.call('ZRANGEBYSCORE', key, '-inf', now_text, 'LIMIT', 0, most)
  if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  for i = 1, #names do
    local user = fq.user_load(names[i])
    for queue in pairs(user.waiting) do fq.user_queue(user, queue) end
    fq.settle_place(user, false)
  end
end

-- Garbage that a claim came upon: a record in the dead letters says what was there.
function fq.bury_spoiled(most)
  local spoiled = redis.call('LPOP', base .. 'spoiled', most) or {}
  for i = 1, #spoiled do
    local id, queue, user = string.match(spoiled[i], '^(.*)|([^|]*)|([^|]*)$')
    local key = fq.task_key(id)
    if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
    if user ~= '' then redis.call('HSET', key, 'u', user, 'q', queue) end
    fq.bury(id, 'corrupt: its record in Redis is incomplete')
  end
end

function fq.first_of(key, scale)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  return head and math.floor(tonumber(head) / scale)
end

-- When something will be due again, as far as one can know; a minute at the latest.
function fq.next_due()
  local due = now + 60000
  local ends = fq.first_of(base .. 'leases', 1)
  if ends then due = math.min(due, math.max(ends, fq.clock_get('grace'))) end
  due = math.min(due, fq.first_of(fq.state_key('scheduled'), 1000) or due, fq.first_of(base .. 'wake', 1) or due)
  if redis.call('EXISTS', base .. 'dead', base .. 'spoiled') > 0 then due = now end
  fq.clock_set('due', due)
end

function fq.keep_house(max_deliveries, age_us, by_time)
  local taken = fq.recover_expired(1000, max_deliveries, by_time)
  fq.promote(256, age_us)
  fq.wake(256)
  fq.bury_spoiled(64)
  fq.next_due()
  return taken
end
