-- Counters: of the partition in the hash `clock` (q:<queue> waiting, running, dropped), and of the minute.
--@include clock

local stat_by = {}

function fq.count(field, by) fq.clock_set(field, fq.clock_get(field) + by) end
function fq.stat(field, by) stat_by[field] = (stat_by[field] or 0) + by end

-- Half an octave a bucket: a percentile read from them is right within a fifth.
local HALF_OCTAVES = 2 / math.log(2)
local ms_by = {w = {}, r = {}}
function fq.stat_ms(letter, ms)
  local by = ms_by[letter]
  by[ms] = (by[ms] or 0) + 1
end

local MINUTES_KEPT_MS = 86400000

function fq.counts_save()
  for letter, by in pairs(ms_by) do
    for ms, n in pairs(by) do
      fq.stat(letter .. (ms > 0 and math.floor(HALF_OCTAVES * math.log(ms + 1)) or 0), n)
    end
  end
  if not next(stat_by) then return end
  local key = base .. 'stats:' .. math.floor(now / 60000)
  local fresh = false
  for field, by in pairs(stat_by) do
    if redis.call('HINCRBY', key, field, by) == by then fresh = true end
  end
  if fresh then redis.call('PEXPIRE', key, MINUTES_KEPT_MS) end
end
