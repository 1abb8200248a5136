-- Removes some entries that are over, and adds others unless there would be too many. Returns the last number of the list, or -1 if
-- there is no room. What somebody else wrote hides no change: numbers go on from the highest there is, a list whose numbers
-- are in disorder is numbered anew and gets another name, and times that are none count as nothing.
-- The last command is the one that makes the change known.
local version, list, order, ends, telling = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local room, now, revoked, more, disordered = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4] == '1', ARGV[5]
-- Up to here, and far beyond, each number has one more.
local countable = 2 ^ 52
local function times(text)
  local issued, last = string.match(text or '', '^(%d+) (%d+)$')
  issued, last = tonumber(issued or 0), tonumber(last or 0)
  if issued < countable and last < countable then return issued, last end
  return 0, 0
end
local name, number = string.match(redis.call('GETRANGE', version, 0, 99), '^(%S+) (%d+)$')
local highest = redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2]
number = math.max(tonumber(number or 0), math.ceil(tonumber(highest or 0) or math.huge))
if number >= countable or (name and string.sub(name, 1, 64) == disordered) then
  name, number = nil, 0
  for _, digest in ipairs(redis.call('ZRANGEBYSCORE', order, '-inf', '+inf')) do
    number = number + 1
    redis.call('ZADD', order, number, digest)
  end
end
if not name or more then redis.call('SET', telling, '1', 'PX', 2000) end
if not name then
  local time = redis.call('TIME')
  name = time[1] .. '.' .. time[2]
end
local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 200)
local known = #over > 0 and redis.call('HMGET', list, unpack(over)) or {}
for i, digest in ipairs(over) do
  local _, last = times(known[i])
  if last > now then
    redis.call('ZADD', ends, last, digest)
  else
    redis.call('HDEL', list, digest)
    redis.call('ZREM', order, digest)
    redis.call('ZREM', ends, digest)
  end
end
local digests = {}
for i = 6, #ARGV, 3 do digests[#digests + 1] = ARGV[i] end
local before, new = #digests > 0 and redis.call('HMGET', list, unpack(digests)) or {}, 0
for i = 1, #digests do if not before[i] then new = new + 1 end end
if new > 0 and redis.call('HLEN', list) + new > room then return -1 end
local entries, numbers, lasts = {}, {}, {}
for i, digest in ipairs(digests) do
  local issued, last = times(before[i])
  issued, last = math.max(issued, tonumber(ARGV[3 * i + 4])), math.max(last, tonumber(ARGV[3 * i + 5]))
  local after = string.format('%.0f %.0f', issued, last)
  if revoked or after ~= before[i] then
    number = number + 1
    entries[#entries + 1], entries[#entries + 2] = digest, after
    numbers[#numbers + 1], numbers[#numbers + 2] = number, digest
  else
    -- Somebody else may have removed it from there.
    number = number + redis.call('ZADD', order, 'NX', number + 1, digest)
  end
  lasts[#lasts + 1], lasts[#lasts + 2] = last, digest
end
if #entries > 0 then
  redis.call('HSET', list, unpack(entries))
  redis.call('ZADD', order, unpack(numbers))
end
if #lasts > 0 then redis.call('ZADD', ends, unpack(lasts)) end
redis.call('SET', version, name .. ' ' .. string.format('%.0f', number))
return number
