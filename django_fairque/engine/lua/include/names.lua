-- Names of keys. They are derived here and in engine/keys.py, and nowhere else.
-- `user` and `queue` are encoded already (percent-encoding), so that `:` and `|` never occur in them.
--
-- task:<id> is a hash: u user, n name, q queue (unless default), e enqueued ms, p payload (or b its size
--   in body:<id>), s state (absent while queued), h <worker>:<call> of the last claim, st its start, ft end,
--   r result (or rb its size in result:<id>), rs reason. x is there when any of these is: b, pr priority
--   ("c" critical), at due ms, a failed attempts, d runs lost with their worker, ws earlier workers.
--   s1 is the first start, when there was more than one.
-- user:<user> is a hash: n accepted and not started, f in flight, and for each queue n:<q> waiting, c:<q> of
--   them critical, t:<q> virtual start tag. x is there when any of these is:
--   pol policy (unless the default), ov override, g group (unless *), p paused, tat of the rate, est mean
--   run ms, qs the queues it waits in (unless only `default`).

local base = KEYS[1]

-- All functions are fields of one table. A script makes its functions anew at each call, and Lua looks for
-- each local they capture in a list of all that are captured: a table keeps that list short.
local fq = {}

function fq.task_key(id) return base .. 'task:' .. id end

function fq.lane_key(user, lane, queue)
  if queue == 'default' then return base .. 'queue:user:' .. user .. ':' .. lane end
  return base .. 'queue:' .. queue .. ':user:' .. user .. ':' .. lane
end

function fq.state_key(state) return base .. 'state:' .. state end
function fq.held_key(worker) return base .. 'held:' .. worker end

-- The names that go with a queue and a group, made once a call.
local places = {}
function fq.place_of(queue, group)
  local of_queue = places[queue]
  if not of_queue then
    of_queue = {}
    places[queue] = of_queue
  end
  local place = of_queue[group]
  if not place then
    local name = queue .. ':' .. group
    place = {v = 'v:' .. name, w = 'w:' .. name, ready = base .. 'ready:' .. name, bell = base .. 'bell:' .. name}
    of_queue[group] = place
  end
  return place
end

-- A longer value would turn the compact hash of a task into a table three times its size.
local INLINE = 64
