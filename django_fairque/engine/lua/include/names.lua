-- Names of keys. They are derived here and in engine/keys.py, and nowhere else.
-- `user` and `queue` are encoded already (percent-encoding), so that `:` and `|` never occur in them.
--
-- task:<id> is a hash: u user, n name, q queue (unless default), e enqueued ms, p payload or b its size
--   in body:<id>, pr priority ("c" critical; absent for 0), at due ms, a failed attempts, d runs lost with
--   their worker, s state (absent while queued), h <worker>:<call> of the last claim, st its start,
--   s1 the first start, ws earlier workers, ft end, r result or rb its size in result:<id>, rs reason.
-- user:<user> is a hash: pol policy (unless the default), ov override, g group (unless *), n accepted and
--   not started, f in flight, p paused, tat of the rate, est mean run ms, qs the queues it waits in (unless
--   it is only `default`), and for each such queue n:<q> waiting, c:<q> of them critical, t:<q> its tag.

local base = KEYS[1]

local function task_key(id) return base .. 'task:' .. id end

local function lane_key(user, lane, queue)
  if queue == 'default' then return base .. 'queue:user:' .. user .. ':' .. lane end
  return base .. 'queue:' .. queue .. ':user:' .. user .. ':' .. lane
end

local function ready_key(queue, group) return base .. 'ready:' .. queue .. ':' .. group end
local function bell_key(queue, group) return base .. 'bell:' .. queue .. ':' .. group end
local function state_key(state) return base .. 'state:' .. state end
local function held_key(worker) return base .. 'held:' .. worker end

-- A longer value would turn the compact hash of a task into a table three times its size.
local INLINE = 64
