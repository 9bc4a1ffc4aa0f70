#!lua flags=allow-oom
-- Hand in how attempts ended and take the next tasks: settle and claim in one, since a busy worker always
-- does both, for much the same users.
--
-- KEYS   base
-- ARGV   what claim takes, then the attempts that settle takes
-- Reply  {reply of settle, reply of claim}
-- Holds  what settle and claim hold

--@include settling
--@include claiming

-- With few users it is mostly those whose attempts ended who have the next turns.
local few = redis.call('ZCARD', place.ready) <= 2 * limit
local settled = fq.settle(asked_to, few)
local reply = fq.claim()
fq.users_save()
fq.clock_save()
fq.counts_save()
if reply[1] == 'ok' then reply[4] = fq.exact(fq.clock_get(place.v)) end
return {settled, reply}
