#!lua flags=allow-oom
-- Record how attempts ended, for tasks this worker still holds.
--
-- KEYS   base
-- ARGV   the terms (include/terms.lua), then for each attempt {id, call, outcome, text, number}: "finish"
--        result; "retry" error, delay ms; "bury" error, reason; "release"; "park" reason, delay ms
-- Reply  for each attempt "ok", or "lost" when the task belongs to somebody else by now
-- Holds  an outcome counts once: the same one again answers "ok" and changes nothing

--@include settling

fq.clock_load('lt', 'seq', 'due', 'running')
local reply = fq.settle(TERMS + 1)
fq.users_save()
fq.clock_save()
fq.counts_save()
return reply
