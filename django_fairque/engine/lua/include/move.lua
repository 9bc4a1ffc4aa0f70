-- Changes to a user that keep its place: another policy, another group.
-- Call settle_place afterwards with what may_run said before.
--@include place
--@include group

function fq.use_policy(user, packed)
  local policy = fq.policy_of(packed)
  if policy.weight ~= user.policy.weight then
    for queue in pairs(user.waiting) do
      local place = fq.place_of(queue, user.group)
      if redis.call('ZSCORE', place.ready, user.name) then
        fq.clock_set(place.w, fq.clock_get(place.w) - user.policy.weight + policy.weight)
      end
    end
  end
  user.policy, user.dirty = policy, true
end

-- The policy of the settings came with an enqueue. An operator's override wins.
function fq.take_policy(user, packed)
  if user.packed == packed then return end
  local may = fq.may_run(user)
  user.packed = packed
  fq.use_policy(user, user.override or packed)
  fq.settle_place(user, may)
end

-- Another group serves the user from now on; it keeps its lead or lag over the clock.
function fq.move_to(user, group)
  if user.group == group then return end
  if group ~= '*' and fq.name_group(group) then
    -- Who serves everybody does not listen to this group's bells yet.
    for queue in pairs(user.queues) do fq.rung(fq.place_of(queue, '*').bell) end
  end
  local may, from = fq.may_run(user), user.group
  -- Its tags in queues where it does not wait now are leads and lags as well.
  local fields = user.exists and redis.call('HKEYS', user.key) or {}
  for i = 1, #fields do
    if string.sub(fields[i], 1, 2) == 't:' then fq.user_queue(user, string.sub(fields[i], 3)) end
  end
  for queue in pairs(user.waiting) do fq.user_queue(user, queue) end
  for queue, lane in pairs(user.queues) do
    if may and lane.n > 0 then fq.exit(user, queue) end
    lane.tag = fq.clock_get(fq.place_of(queue, group).v) + lane.tag - fq.clock_get(fq.place_of(queue, from).v)
  end
  user.group, user.dirty = group, true
  for queue, lane in pairs(user.queues) do
    if may and lane.n > 0 then fq.enter(user, queue) end
  end
end
