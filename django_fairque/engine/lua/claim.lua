#!lua flags=allow-oom
-- Give a worker the next tasks in fair order, at most as many as it has free slots.
--
-- KEYS   base
-- ARGV   the terms (include/terms.lua), and what the worker asks for (include/claiming.lua)
-- Reply  {"lost"}, or {"ok", "1" when others are ready still, ms until something may be due,
--        clock, groups joined by ":", now ms, then 7 values a task: id, name, user, queue, payload,
--        enqueued ms, and nil or {priority, failed attempts, lost runs, due ms, earlier workers}}
-- Holds  a task is charged to its user before it runs; the same call again gives the same tasks again

--@include claiming

local reply = fq.claim()
fq.users_save()
fq.clock_save()
fq.counts_save()
if reply[1] == 'ok' then reply[4] = fq.exact(fq.clock_get(place.v)) end
return reply
