-- Removes some entries that are over, and adds others unless there would be too many. Returns 1, or 0 if there is no room.
-- The last command is the one that makes the change known.
local version, list, order, ends = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local room, now, revoked = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1'
local name, number = string.match(redis.call('GET', version) or '', '^(%S+) (%d+)$')
if not name then
  local time, last = redis.call('TIME'), redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')
  name, number = time[1] .. '.' .. time[2], last[2] or 0
end
number = tonumber(number)
local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 200)
if #over > 0 then
  redis.call('HDEL', list, unpack(over))
  redis.call('ZREM', order, unpack(over))
  redis.call('ZREM', ends, unpack(over))
end
local new = 0
for i = 4, #ARGV, 3 do new = new + 1 - redis.call('HEXISTS', list, ARGV[i]) end
if new > 0 and redis.call('HLEN', list) + new > room then return 0 end
for i = 4, #ARGV, 3 do
  local known = redis.call('HGET', list, ARGV[i]) or ''
  local issued, last = string.match(known, '^(%d+) (%d+)$')
  issued = math.max(tonumber(issued or 0), tonumber(ARGV[i + 1]))
  last = math.max(tonumber(last or 0), tonumber(ARGV[i + 2]))
  local times = string.format('%.0f %.0f', issued, last)
  if revoked or times ~= known then
    number = number + 1
    redis.call('HSET', list, ARGV[i], times)
    redis.call('ZADD', order, number, ARGV[i])
    redis.call('ZADD', ends, last, ARGV[i])
  end
end
redis.call('SET', version, name .. ' ' .. string.format('%.0f', number))
return 1
