-- Returns since when the server keeps entries, the name of the list, its last number, whether somebody is telling it what it has
-- lost, and the entries from a number on: for each its digest, its times, and its number. What somebody else wrote there is cut
-- off, so that the answer has a bound.
local began, version, list, order, telling = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local found = redis.call('ZRANGEBYSCORE', order, ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local digests, entries = {}, {}
for i = 1, #found, 2 do digests[#digests + 1] = found[i] end
local times = #digests > 0 and redis.call('HMGET', list, unpack(digests)) or {}
for i, digest in ipairs(digests) do
  entries[3 * i - 2] = string.sub(digest, 1, 40)
  entries[3 * i - 1] = string.sub(times[i] or '', 1, 48)
  entries[3 * i] = found[2 * i]
end
local name, number = string.match(redis.call('GETRANGE', version, 0, 99), '^(%S+) (%d+)$')
return {
  string.sub(redis.call('GET', began) or '', 1, 64), string.sub(name or '', 1, 64), string.sub(number or '', 1, 20),
  redis.call('GET', telling) and 1 or 0, entries
}
