-- The server's time and the fields of the hash `clock`, read at most once and written at most once.
-- A number that only scripts read goes to Redis as it is: the server writes it with all its digits.
-- A number that Python reads goes through `exact`, since the server may write 1e+12 for it.
--@include names

local clock_key = base .. 'clock'
local clock, clock_dirty, clock_changed = {}, {}, false

function fq.exact(number)
  if number == math.floor(number) and number < 1e15 and number > -1e15 then
    return string.format('%.0f', number)
  end
  return string.format('%.17g', number)
end

function fq.clock_load(...)
  local fields = {...}
  local values = redis.call('HMGET', clock_key, ...)
  for i = 1, #fields do clock[fields[i]] = tonumber(values[i] or '0') or 0 end
end

function fq.clock_get(field)
  local value = clock[field]
  if not value then
    value = tonumber(redis.call('HGET', clock_key, field) or '0') or 0
    clock[field] = value
  end
  return value
end

function fq.clock_set(field, value)
  clock[field], clock_dirty[field], clock_changed = value, true, true
end

function fq.clock_save()
  if not clock_changed then return end
  local args, n = {}, 0
  for field in pairs(clock_dirty) do
    args[n + 1], args[n + 2] = field, clock[field]
    n = n + 2
  end
  redis.call('HSET', clock_key, unpack(args))
end

-- `now` comes from the server; a test moves it by an argument.
local now, now_us
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  now_us = tonumber(t[1]) * 1000000 + tonumber(t[2])
else
  now = tonumber(ARGV[1])
  now_us = now * 1000
end
local now_text = fq.exact(now)

-- Virtual times of equal users are told apart by the order in which they came, never by name: by a
-- step that is small beside any turn and still shows in a number as large as the tag.
local TIES, LEAST_STEP, STEP = 4096, 2 ^ -40, 2 ^ -51

function fq.after_ties(tag)
  local seq = fq.clock_get('seq') + 1
  fq.clock_set('seq', seq)
  return tag + seq % TIES * math.max(LEAST_STEP, math.abs(tag) * STEP)
end

-- A time in microseconds that no earlier caller got: what makes equal priorities first in, first out.
function fq.next_us()
  local last = fq.clock_get('lt') + 1
  if last < now_us then last = now_us end
  fq.clock_set('lt', last)
  return last
end

-- The moment before which there is nothing to promote, wake or recover: whoever adds something earlier
-- moves it forward, so that a claim need not look into four sets.
function fq.due_by(at_ms)
  if at_ms < fq.clock_get('due') then fq.clock_set('due', at_ms) end
end

-- The scripts keep the last time they ran. After an absence of half a lease the workers could not
-- renew, so nobody is taken for dead until each had one more lease.
function fq.tick(lease_ms)
  local last = fq.clock_get('tick')
  if last > 0 and now - last > lease_ms / 2 then fq.clock_set('grace', now + lease_ms) end
  if now - last > lease_ms / 8 or now < last then fq.clock_set('tick', now) end
end
