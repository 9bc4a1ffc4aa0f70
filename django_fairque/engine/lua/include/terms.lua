-- What settle, claim and exchange have in common: who asks, and on what terms.
--
-- ARGV   now ms or "", worker, "turns" or "time", debt limit, TTL of failed ms, how many dead letters, lease
--        ms, max deliveries, microseconds of age a priority is worth, TTL of results ms, how many finished
--        records are kept
--@include place

local worker, by_time = ARGV[2], ARGV[3] == 'time'
local lease_ms, max_deliveries, age_us = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
debt_limit, failed_ttl_ms, dead_letter_limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local TERMS = 11
