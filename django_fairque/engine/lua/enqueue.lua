#!lua
-- Take tasks in: all of them, or none and say why.
--
-- KEYS   base
-- ARGV   now ms or "", "1" when the caller chose the ids, debt limit, microseconds of age a priority is
--        worth, lease ms, n, then n times {user, group, policy, queue, name, priority or "c", due ms or ""},
--        then for each task {index of its kind, id, payload}
-- Reply  {"ok", how many are new, ids that existed ...}, {"conflict", id} or {"full", user, waiting, limit}
-- Holds  nothing is written unless every task is; an id that exists with the same work changes nothing

--@include user

function fq.needs_place()
  if fq.enter then return end
  --@include move
end

local given, age_us, lease_ms, kinds = ARGV[2] == '1', tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
debt_limit = tonumber(ARGV[3])
local KIND, FIRST = 7, 6

local kind_of = {}
for k = 1, kinds do
  local i = FIRST + (k - 1) * KIND
  kind_of[k] = {
    user = ARGV[i + 1], group = ARGV[i + 2], policy = ARGV[i + 3], queue = ARGV[i + 4], name = ARGV[i + 5],
    priority = ARGV[i + 6], due = ARGV[i + 7] ~= '' and tonumber(ARGV[i + 7]) or nil, new = 0,
  }
end
fq.clock_load('lt', 'tick', 'q:' .. kind_of[1].queue)

local function same_work(id, kind, payload)
  local v = redis.call('HMGET', fq.task_key(id), 'u', 'n', 'q', 'p', 'b')
  local stored = v[4]
  if v[5] then stored = redis.pcall('GET', base .. 'body:' .. id) end
  return v[1] == kind.user and v[2] == kind.name and (v[3] or 'default') == kind.queue and stored == payload
end

local function same_call(one, other)
  local a, b = kind_of[tonumber(ARGV[one])], kind_of[tonumber(ARGV[other])]
  return a.user == b.user and a.name == b.name and a.queue == b.queue and ARGV[one + 2] == ARGV[other + 2]
end

-- Decide. Ids that the client drew at random are all new, or this very call is here for a second time
-- because its reply was lost; the first id tells.
local start, existing, seen, skip = FIRST + kinds * KIND + 1, {}, {}, {}
local repeated = not given and redis.call('EXISTS', fq.task_key(ARGV[start + 1])) == 1
for i = start, #ARGV, 3 do
  local id, kind = ARGV[i + 1], kind_of[tonumber(ARGV[i])]
  local twin, found = seen[id], repeated
  if twin then
    if not same_call(twin, i) then return {'conflict', id} end
    found = true
  elseif given then
    seen[id] = i
    found = redis.call('EXISTS', fq.task_key(id)) == 1
  end
  if found then
    -- Of a call that is here again, a record may have come and gone.
    local gone = repeated and redis.call('EXISTS', fq.task_key(id)) == 0
    if not twin and not gone and not same_work(id, kind, ARGV[i + 2]) then return {'conflict', id} end
    existing[#existing + 1] = id
    skip[i] = true
  else
    kind.new = kind.new + 1
  end
end

local coming = {}
for k = 1, kinds do
  local kind = kind_of[k]
  coming[kind.user] = (coming[kind.user] or 0) + kind.new
end
for k = 1, kinds do
  local kind = kind_of[k]
  if kind.new > 0 then
    local user = fq.user_load(kind.user, kind.queue)
    local limit = fq.policy_of(user.override or kind.policy).limit
    if limit > 0 and user.n + coming[kind.user] > limit then
      return {'full', kind.user, user.n, limit}
    end
  end
end

-- Act.
local made, ring_due, critical_of = 0, nil, {}
for k = 1, kinds do
  local kind = kind_of[k]
  if kind.new > 0 then
    local user = fq.user_load(kind.user, kind.queue)
    if user.packed ~= kind.policy or user.group ~= kind.group then
      fq.needs_place()
      fq.take_policy(user, kind.policy)
      fq.move_to(user, kind.group)
    end
    kind.member = user
    kind.normal, kind.critical, kind.due_at = {}, 0, {}
    -- Critical tasks of one user are one line, whatever function they call.
    kind.line = kind.user .. '|' .. kind.queue
    critical_of[kind.line] = critical_of[kind.line] or {}
  end
end
for i = start, #ARGV, 3 do
  if not skip[i] then
    local kind = kind_of[tonumber(ARGV[i])]
    local id, payload = ARGV[i + 1], ARGV[i + 2]
    local fields = {'u', kind.user, 'n', kind.name, 'e', now_text}
    if kind.priority ~= '0' or #payload > INLINE or kind.due then fields[7], fields[8] = 'x', '1' end
    if kind.queue ~= 'default' then fields[#fields + 1] = 'q'; fields[#fields + 1] = kind.queue end
    if kind.priority ~= '0' then fields[#fields + 1] = 'pr'; fields[#fields + 1] = kind.priority end
    if #payload <= INLINE then
      fields[#fields + 1] = 'p'; fields[#fields + 1] = payload
    else
      fields[#fields + 1] = 'b'; fields[#fields + 1] = #payload
      redis.call('SET', base .. 'body:' .. id, payload)
    end
    if kind.due then
      fields[#fields + 1] = 'at'; fields[#fields + 1] = fq.exact(kind.due)
      if kind.due > now then fields[#fields + 1] = 's'; fields[#fields + 1] = 'scheduled' end
    end
    redis.call('HSET', fq.task_key(id), unpack(fields))
    made = made + 1
    if kind.due and kind.due > now then
      local list = kind.due_at
      fq.needs_place()
      list[#list + 1] = fq.due_place(kind.due)
      list[#list + 1] = id
    elseif kind.priority == 'c' then
      local line = critical_of[kind.line]
      line[#line + 1] = id
      kind.critical = kind.critical + 1
    else
      local list = kind.normal
      list[#list + 1] = fq.exact(fq.next_us() - tonumber(kind.priority) * age_us)
      list[#list + 1] = id
    end
  end
end
for k = 1, kinds do
  local kind = kind_of[k]
  local user = kind.member
  if user then
    local entry = fq.user_queue(user, kind.queue)
    local had, may = entry.n > 0, fq.may_run(user)
    local normal, critical, due_at = #kind.normal / 2, kind.critical, #kind.due_at / 2
    if normal > 0 then redis.call('ZADD', fq.lane_key(kind.user, 'normal', kind.queue), unpack(kind.normal)) end
    local line = critical_of[kind.line]
    if #line > 0 then
      redis.call('RPUSH', fq.lane_key(kind.user, 'critical', kind.queue), unpack(line))
      critical_of[kind.line] = {}
    end
    if due_at > 0 then
      redis.call('ZADD', fq.state_key('scheduled'), unpack(kind.due_at))
      -- Whoever sleeps has to learn that something is due earlier than it thinks.
      if kind.due < fq.clock_get('due') then ring_due = kind end
      fq.due_by(kind.due)
    end
    user.n, user.dirty = user.n + kind.new, true
    if normal + critical > 0 then
      fq.waits(user, kind.queue, normal + critical, critical)
      if not had or not may then
        fq.needs_place()
        fq.settle_place(user, may, kind.queue, had)
      end
    end
  end
end
if ring_due then fq.rung(fq.place_of(ring_due.queue, ring_due.member.group).bell) end
if made > 0 then
  fq.stat('enqueued', made)
  fq.tick(lease_ms)
  fq.users_save()
  fq.clock_save()
  fq.counts_save()
end
return {'ok', made, unpack(existing)}
