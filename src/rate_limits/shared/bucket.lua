-- Adds what was used of buckets since the last call, and returns how long each takes until it is full again.
--
-- KEYS are the buckets. ARGV has two numbers for each: for how long the steady rate gives what was used, which is below zero
-- for what was given back, and how long a bucket may take at most until it is full. Times are in microseconds.
--
-- A bucket is the time that it took until it was full, and when that was, by the clock of this server. So a clock that is set
-- back keeps nobody waiting for what it went back, and one that is set forward forgets. Whatever else is found at the key, of
-- any type, is as good as nothing, and is overwritten. A full bucket is one that does not exist.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local taking = {}
for index, key in ipairs(KEYS) do
  local used, most = tonumber(ARGV[2 * index - 1]), tonumber(ARGV[2 * index])
  local left = 0
  local bucket = redis.pcall('GET', key)
  if type(bucket) == 'string' then
    local took, at = string.match(bucket, '^(%d+) (%d+)$')
    if took then
      left = math.max(0, math.min(tonumber(took), most) - math.max(0, now - tonumber(at)))
    end
  end
  left = math.min(math.max(0, left + used), most)
  local bucket_now = string.format('%.0f %.0f', left, now)
  -- Servers before Redis 7 hide the code of an error that is not caught.
  local kept = redis.pcall('SET', key, bucket_now, 'PX', string.format('%.0f', math.floor(left / 1000) + 1))
  if kept.err then
    return kept
  end
  taking[index] = left
end
return taking
