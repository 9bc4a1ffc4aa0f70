#!lua flags=no-writes
-- Who is alive: what each worker says of itself, when its lease ends and how much it runs.
--
-- KEYS   base
-- ARGV   now ms or "", first, last (ranks)
-- Reply  {now, then for each worker {id, lease end ms, tasks held, fields}}

--@include clock

local reply = {fq.exact(now)}
local found = redis.call('ZRANGE', base .. 'leases', tonumber(ARGV[2]), tonumber(ARGV[3]), 'WITHSCORES')
for i = 1, #found, 2 do
  reply[#reply + 1] = {found[i], found[i + 1], redis.call('HLEN', fq.held_key(found[i])),
    redis.call('HGETALL', base .. 'worker:' .. found[i])}
end
return reply
