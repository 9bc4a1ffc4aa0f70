-- What `held:<worker>` says of a task; being in it is the fencing token:
-- <call>|<start ms>|<flags>|<user>|<queue>|<estimated cost>|<lane score, or c and the order of the claim>,
-- with flag b for a payload of its own key and a for earlier attempts.
--@include names

function fq.held_parts(value)
  local call, start, flags, user, queue, est, score =
    string.match(value, '^(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$')
  return {
    call = call, start = tonumber(start), flags = flags or '', user = user, queue = queue, est = tonumber(est),
    score = score,
  }
end
