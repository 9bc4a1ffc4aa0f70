#!lua flags=no-writes,allow-stale
-- Everything stored of one task.
--
-- KEYS   base
-- ARGV   id
-- Reply  nil, or {its fields, payload or nil, result or nil, errors, when it is due in ms or nil}

--@include names

local id = ARGV[1]
local fields = redis.call('HGETALL', fq.task_key(id))
if #fields == 0 then return nil end
local due = redis.call('ZSCORE', fq.state_key('scheduled'), id)
return {
  fields, redis.call('GET', base .. 'body:' .. id), redis.call('GET', base .. 'result:' .. id),
  redis.call('LRANGE', base .. 'errors:' .. id, 0, 999), due and string.format('%.0f', math.floor(tonumber(due) / 1000)),
}
