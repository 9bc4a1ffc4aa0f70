#!lua flags=no-writes,allow-stale
-- Everything stored of one task.
--
-- KEYS   base
-- ARGV   id
-- Reply  nil, or {its fields, payload or nil, result or nil, errors, when it is due in ms or nil}

--@include names

local id = ARGV[1]
-- What is of the wrong type reads as absent: one broken record must not break a page of them.
local function read(...)
  local got = redis.pcall(...)
  return not (type(got) == 'table' and got.err) and got
end

local fields = read('HGETALL', fq.task_key(id))
if not fields or #fields == 0 then return nil end
local due = redis.call('ZSCORE', fq.state_key('scheduled'), id)
return {
  fields, read('GET', base .. 'body:' .. id), read('GET', base .. 'result:' .. id),
  read('LRANGE', base .. 'errors:' .. id, 0, 999) or {}, due and string.format('%.0f', math.floor(tonumber(due) / 1000)),
}
