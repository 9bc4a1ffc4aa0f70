-- Back into a lane, into the scheduled set, or out of the queue for good.
--@include place
--@include held


-- A run ended without an outcome: keep who had it and when it first started.
function fq.remember_run(id, worker, start)
  local key = fq.task_key(id)
  local v = redis.call('HMGET', key, 'ws', 's1')
  local args = {'ws', v[1] and (v[1] .. ',' .. worker) or worker, 'x', '1'}
  if not v[2] then args[5], args[6] = 's1', fq.exact(start) end
  redis.call('HSET', key, unpack(args))
end

-- The same place as before: the old score in the normal lane; critical tasks go to the front together,
-- by the order in which they were claimed (score c<order>).
local returning = {}

function fq.back(user, id, queue, score)
  local may, had = fq.may_run(user), fq.user_queue(user, queue).n > 0
  local order = string.match(score, '^c(%d+)$')
  redis.call('HDEL', fq.task_key(id), 's')
  if order then
    returning[#returning + 1] = {order = tonumber(order), lane = fq.lane_key(user.name, 'critical', queue), id = id}
  else
    redis.call('ZADD', fq.lane_key(user.name, 'normal', queue), score, id)
  end
  user.n = user.n + 1
  fq.waits(user, queue, 1, order and 1 or 0)
  fq.settle_place(user, may, queue, had)
end

function fq.back_in_line()
  table.sort(returning, function(a, b) return a.order > b.order end)
  for i = 1, #returning do redis.call('LPUSH', returning[i].lane, returning[i].id) end
  returning = {}
end

function fq.not_before(user, id, queue, at_ms)
  redis.call('HSET', fq.task_key(id), 's', 'scheduled')
  redis.call('ZADD', fq.state_key('scheduled'), fq.due_place(at_ms), id)
  if at_ms < fq.clock_get('due') then fq.rung(fq.place_of(queue, user.group).bell) end
  fq.due_by(at_ms)
  user.n, user.dirty = user.n + 1, true
end

function fq.forget(id)
  redis.call('UNLINK', fq.task_key(id), base .. 'body:' .. id, base .. 'result:' .. id, base .. 'errors:' .. id)
end

-- Oldest first, a bounded number a call, each with everything that belongs to it.
function fq.trim(state, limit, ttl_ms, most)
  local key = fq.state_key(state)
  most = math.min(most, 1000) -- what Lua can unpack, and what one call may take
  local old = redis.call('ZRANGEBYSCORE', key, '-inf', fq.exact(now - ttl_ms), 'LIMIT', 0, most)
  for i = 1, #old do fq.forget(old[i]) end
  if #old > 0 then redis.call('ZREM', key, unpack(old)) end
  local over = redis.call('ZCARD', key) - limit
  if over > 0 then
    local out = redis.call('ZPOPMIN', key, over < most and over or most)
    for i = 1, #out, 2 do fq.forget(out[i]) end
    return #out / 2
  end
  return 0
end

-- Among the dead letters, for the user's and the operator's eyes; errors and arguments stay readable.
function fq.bury(id, reason)
  local key, ttl = fq.task_key(id), fq.exact(failed_ttl_ms)
  redis.call('HSET', key, 's', 'failed', 'rs', reason, 'ft', now_text)
  redis.call('PEXPIRE', key, ttl)
  redis.call('PEXPIRE', base .. 'body:' .. id, ttl)
  redis.call('PEXPIRE', base .. 'errors:' .. id, ttl)
  redis.call('ZADD', fq.state_key('failed'), now_text, id)
  local dropped = fq.trim('failed', dead_letter_limit, failed_ttl_ms, 16)
  if dropped > 0 then fq.count('dropped', dropped) end
  fq.stat('failed', 1)
end
