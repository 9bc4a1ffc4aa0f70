-- Whose turn it is, for one worker: the sources it serves (its home first, then what it may steal), and
-- the fair order inside each. A source is a ready set, or a list of users picked from theirs.
--@include user

local ALIVE_MS = 4000

-- A source holds the entries of the lowest tags. Of the first n entries at least one is untouched while
-- fewer than n turns were taken, so nobody outside can be next.
local function fill(source)
  source.entries, source.at = {}, 1
  if source.users then
    for i = 1, #source.users do
      local name = source.users[i]
      local user = user_load(name, source.queue)
      local score = redis.call('ZSCORE', ready_key(source.queue, user.group), name)
      if score then
        local v = clock_get('v:' .. source.queue .. ':' .. user.group)
        source.entries[#source.entries + 1] = {name = name, tag = tonumber(score) - v, offset = v}
      end
    end
    table.sort(source.entries, function(a, b) return a.tag < b.tag end)
    source.all = true
  else
    local found = redis.call('ZRANGE', ready_key(source.queue, source.group), 0, source.most - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      source.entries[#source.entries + 1] = {name = found[i], tag = tonumber(found[i + 1]), offset = 0}
    end
    source.all = #source.entries < source.most
  end
  source.untouched = #source.entries
end

local function head(source)
  if not source.entries then fill(source) end
  local entry = source.entries[source.at]
  if not entry and not source.all and source.refills ~= 1 then
    source.refills = 1
    fill(source)
    entry = source.entries[source.at]
  end
  return entry
end

local function drop(source)
  source.at = source.at + 1
end

-- Back into the order with its new tag.
local function push(source, entry, tag)
  entry.tag = tag
  local entries, i = source.entries, #source.entries
  while i >= source.at and entries[i].tag > tag do
    entries[i + 1] = entries[i]
    i = i - 1
  end
  entries[i + 1] = entry
end

local function sources_of(first, last, queues, groups, most)
  local sources, named, users = {}, {}, {}
  local function add_group(group)
    if named[group] then return end
    named[group] = true
    for q = 1, #queues do
      sources[#sources + 1] = {queue = queues[q], group = group, most = most}
    end
  end
  for i = first, last do
    local kind, name = string.sub(ARGV[i], 1, 1), string.sub(ARGV[i], 2)
    if kind == 'U' then
      users[#users + 1] = name
    elseif kind == 'G' then
      add_group(name)
    else
      add_group('*')
      for g = 1, #groups do add_group(groups[g]) end
    end
  end
  if #users > 0 then
    for q = 1, #queues do sources[#sources + 1] = {queue = queues[q], users = users, most = most} end
  end
  return sources
end
