-- Changes to a user that keep its place: another policy, another group.
--@include user

--@include group

local function reweigh(user, policy)
  for queue in pairs(user.waiting) do
    if redis.call('ZSCORE', ready_key(queue, user.group), user.name) then
      local field = 'w:' .. queue .. ':' .. user.group
      clock_set(field, clock_get(field) - user.policy.weight + policy.weight)
    end
  end
end

-- Call settle_place afterwards with what may_run said before.
local function use_policy(user, packed)
  local policy = policy_of(packed)
  if policy.weight ~= user.policy.weight then reweigh(user, policy) end
  user.policy = policy
end

-- The policy of the settings came with an enqueue. An operator's override wins.
local function take_policy(user, packed)
  if user.exists and user.packed == packed then return end
  local may = may_run(user)
  user.packed, user.dirty = packed, true
  use_policy(user, user.override or packed)
  if user.exists then
    redis.call('HSET', user.key, 'pol', packed)
    settle_place(user, may)
  end
end

-- Another group serves the user from now on; it keeps its lead or lag over the clock.
local function move_to(user, group)
  if user.group == group then return end
  if group ~= '*' then name_group(group) end
  local may, from = may_run(user), user.group
  -- Its tags in queues where it does not wait now are leads and lags as well.
  local fields = user.exists and redis.call('HKEYS', user.key) or {}
  for i = 1, #fields do
    if string.sub(fields[i], 1, 2) == 't:' then user_queue(user, string.sub(fields[i], 3)) end
  end
  for queue in pairs(user.queues) do
    local entry = user_queue(user, queue)
    if may and entry.n > 0 then exit(user, queue) end
    entry.tag = clock_get('v:' .. queue .. ':' .. group) + entry.tag - clock_get('v:' .. queue .. ':' .. from)
  end
  user.group, user.dirty = group, true
  if user.exists then redis.call('HSET', user.key, 'g', group) end
  for queue in pairs(user.waiting) do
    if may and user_queue(user, queue).n > 0 then enter(user, queue) end
  end
end
