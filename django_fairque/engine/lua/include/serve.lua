-- Whose turn it is, for one worker: the sources it serves (its home first, then what it may steal), and
-- the fair order inside each. A source is a ready set, or a list of users picked from theirs.
--@include place

local ALIVE_MS = 4000

-- A source holds the entries of the lowest tags. Of the first n entries at least one is untouched while
-- fewer than n turns were taken, so nobody outside can be next.
function fq.fill(source)
  local entries = {}
  source.entries, source.at, source.all = entries, 1, true
  if source.users then
    for i = 1, #source.users do
      local name = source.users[i]
      local place = fq.place_of(source.queue, fq.user_load(name, source.queue).group)
      local score = redis.call('ZSCORE', place.ready, name)
      if score then
        local v = fq.clock_get(place.v)
        entries[#entries + 1] = {name = name, tag = tonumber(score) - v, offset = v}
      end
    end
    table.sort(entries, function(a, b) return a.tag < b.tag end)
  else
    local found = redis.call('ZRANGE', source.place.ready, 0, source.most - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      entries[#entries + 1] = {name = found[i], tag = tonumber(found[i + 1]), offset = 0}
    end
    source.all = #entries < source.most
  end
end

function fq.head(source)
  if not source.entries then fq.fill(source) end
  local entry = source.entries[source.at]
  if not entry and not source.all and not source.refilled then
    fq.fill(source)
    source.refilled = true
    entry = source.entries[source.at]
  end
  return entry
end

-- Back into the order with its new tag.
function fq.push(source, entry, tag)
  entry.tag = tag
  local entries, i = source.entries, #source.entries
  while i >= source.at and entries[i].tag > tag do
    entries[i + 1] = entries[i]
    i = i - 1
  end
  entries[i + 1] = entry
end

function fq.sources_of(first, last, queues, groups, most)
  local sources, named, users_named = {}, {}, {}
  local function add_group(group)
    if named[group] then return end
    named[group] = true
    for q = 1, #queues do
      sources[#sources + 1] = {queue = queues[q], group = group, most = most, place = fq.place_of(queues[q], group)}
    end
  end
  for i = first, last do
    local kind, name = string.sub(ARGV[i], 1, 1), string.sub(ARGV[i], 2)
    if kind == 'U' then
      users_named[#users_named + 1] = name
    elseif kind == 'G' then
      add_group(name)
    else
      add_group('*')
      for g = 1, #groups do add_group(groups[g]) end
    end
  end
  if #users_named > 0 then
    for q = 1, #queues do sources[#sources + 1] = {queue = queues[q], users = users_named, most = most} end
  end
  return sources
end
