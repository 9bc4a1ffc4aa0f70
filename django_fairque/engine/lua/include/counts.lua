-- Counters: of the partition in the hash `clock` (q:<queue> waiting, running, dropped), and of the minute.
--@include clock

local stat_by = {}

local function count(field, by) clock_set(field, clock_get(field) + by) end
local function stat(field, by) stat_by[field] = (stat_by[field] or 0) + by end

-- Half an octave a bucket: a percentile read from them is right within a fifth.
local HALF_OCTAVES = 2 / math.log(2)
local function stat_ms(letter, ms)
  local field = letter .. (ms > 0 and math.floor(HALF_OCTAVES * math.log(ms + 1)) or 0)
  stat_by[field] = (stat_by[field] or 0) + 1
end

local MINUTES_KEPT_MS = 86400000

local function counts_save()
  if not next(stat_by) then return end
  local key = base .. 'stats:' .. math.floor(now / 60000)
  local fresh = false
  for field, by in pairs(stat_by) do
    if redis.call('HINCRBY', key, field, by) == by then fresh = true end
  end
  if fresh then redis.call('PEXPIRE', key, MINUTES_KEPT_MS) end
end
