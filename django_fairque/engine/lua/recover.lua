#!lua flags=allow-oom
-- Take back the tasks of workers whose lease ended, or of one that is known to be dead.
--
-- KEYS   base
-- ARGV   now ms or "", lease ms, max deliveries, how many tasks at most, worker or ""
-- Reply  how many tasks were taken back

--@include house

local most = tonumber(ARGV[4])
clock_load('lt', 'seq', 'tick', 'grace', 'due')
tick(tonumber(ARGV[2]))
if ARGV[5] ~= '' and (redis.call('ZSCORE', base .. 'leases', ARGV[5]) or redis.call('EXISTS', held_key(ARGV[5])) == 1) then
  declare_dead(ARGV[5])
end
local taken = recover_expired(most, tonumber(ARGV[3]))
users_save()
clock_save()
counts_save()
return taken
