#!lua flags=allow-oom
-- Take back the tasks of workers whose lease ended, or of one that is known to be dead.
--
-- KEYS   base
-- ARGV   now ms or "", lease ms, max deliveries, how many tasks at most, TTL of failed ms, how many dead
--        letters, worker or "", "turns" or "time", debt limit
-- Reply  how many tasks were taken back

--@include house

local most = tonumber(ARGV[4])
failed_ttl_ms, dead_letter_limit, debt_limit = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[9])
fq.clock_load('lt', 'seq', 'tick', 'grace', 'due')
fq.tick(tonumber(ARGV[2]))
local worker = ARGV[7]
if worker ~= '' and (redis.call('ZSCORE', base .. 'leases', worker) or redis.call('EXISTS', fq.held_key(worker)) == 1) then
  fq.declare_dead(worker)
end
local taken = fq.recover_expired(most, tonumber(ARGV[3]), ARGV[8] == 'time')
fq.users_save()
fq.clock_save()
fq.counts_save()
return taken
