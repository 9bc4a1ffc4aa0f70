-- Counters of the partition and of the minute, gathered in the script and written once.
--@include clock

local count_by, stat_by = {}, {}

local function count(field, by) count_by[field] = (count_by[field] or 0) + by end
local function stat(field, by) stat_by[field] = (stat_by[field] or 0) + by end

-- Half an octave a bucket: a percentile read from them is right within a fifth.
local function stat_ms(letter, ms)
  if ms < 0 then ms = 0 end
  stat(letter .. math.floor(2 * math.log(ms + 1) / math.log(2)), 1)
end

local MINUTES_KEPT_MS = 86400000

local function counts_save()
  for field, by in pairs(count_by) do
    if by ~= 0 then redis.call('HINCRBY', base .. 'counts', field, by) end
  end
  local key = base .. 'stats:' .. string.format('%.0f', math.floor(now / 60000))
  local fresh = false
  for field, by in pairs(stat_by) do
    if redis.call('HINCRBY', key, field, by) == by then fresh = true end
  end
  if fresh then redis.call('PEXPIRE', key, MINUTES_KEPT_MS) end
end
