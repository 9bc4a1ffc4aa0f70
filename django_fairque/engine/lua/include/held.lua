-- What `held:<worker>` says of a task. Being in it is the fencing token.

-- A held task is <call>|<start ms>|<estimated ms>|<flags>|<lane score or c and order>|<queue>|<user>.
local function held_parts(value)
  local call, start, est, flags, score, queue, user =
    string.match(value, '^(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$')
  return {
    call = call, start = tonumber(start), est = tonumber(est), flags = flags or '', score = score,
    queue = queue, user = user,
  }
end
