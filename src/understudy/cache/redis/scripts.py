"""What Redis does in one step, in Lua: a step is whole or did not happen."""

from __future__ import annotations

__all__ = [
    "BEGIN",
    "DROP",
    "POINT",
    "PUT",
    "PUT_TAIL",
    "READ",
    "REMOVE_TAIL",
    "SIZE",
    "SWITCH",
]

READ = """
-- KEYS: pointer, the bucket of each key. ARGV: the generation expected, the keys.
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then return false end
local found = {}
for i = 2, #KEYS do found[i - 1] = redis.call('HGET', KEYS[i], ARGV[i]) end
return found
"""

BEGIN = """
-- KEYS: record, generations. ARGV: id, time, field, value, ... Begun already: nothing changes.
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('HSET', KEYS[1], unpack(ARGV, 3))
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
end
"""

PUT = """
-- KEYS: record. ARGV: HSET or HSETNX, bytes of the values, key, value, key, value, ...
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'writing' then return state or '' end
for i = 3, #ARGV, 2 do
    local a, b = string.byte(ARGV[i], 1, 2)
    local bucket = string.format('%s:%03x', KEYS[1], a * 16 + math.floor(b / 16))
    redis.call(ARGV[1], bucket, ARGV[i], ARGV[i + 1])
end
redis.call('HINCRBY', KEYS[1], 'staged', ARGV[2])
return 'put'
"""

SIZE = """
-- KEYS: buckets. Returns entries and bytes of values.
local entries, bytes = 0, 0
for i = 1, #KEYS do
    for _, value in ipairs(redis.call('HVALS', KEYS[i])) do
        entries, bytes = entries + 1, bytes + #value
    end
end
return {entries, bytes}
"""

SWITCH = """
-- KEYS: record, pointer, publications. ARGV: id, '1' to force, now, entries, bytes.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'absent', ''} end
if redis.call('HEXISTS', KEYS[1], 'order') == 1 then return {'done', ''} end
local current = redis.call('GET', KEYS[2]) or ''
if ARGV[2] ~= '1' and current ~= redis.call('HGET', KEYS[1], 'base') then
    return {'stale', current}
end
redis.call('HSET', KEYS[1], 'state', 'ready', 'published_at', ARGV[3], 'entries', ARGV[4],
    'bytes', ARGV[5], 'order', redis.call('INCR', KEYS[3]))
redis.call('SET', KEYS[2], ARGV[1])
return {'done', ''}
"""

POINT = """
-- KEYS: record, pointer. ARGV: id.
if redis.call('HEXISTS', KEYS[1], 'order') == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""

DROP = """
-- KEYS: record, pointer, generations. ARGV: id. Never the current one.
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[1] .. ':s')
for bucket = 0, 4095 do redis.call('UNLINK', string.format('%s:%03x', KEYS[1], bucket)) end
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""

PUT_TAIL = """
-- KEYS: tail, order, size. ARGV: limit or -1, key, row, key, row, ...
local size = tonumber(redis.call('GET', KEYS[3]) or '0')
local place = (redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES') or {})[2]
place = tonumber(place or '0')
for i = 2, #ARGV, 2 do
    local before = redis.call('HSTRLEN', KEYS[1], ARGV[i])
    if before == 0 then
        place = place + 1
        redis.call('ZADD', KEYS[2], place, ARGV[i])
    end
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    size = size + #ARGV[i + 1] - before
end
local limit = tonumber(ARGV[1])
while limit >= 0 and size > limit do
    local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
    if not oldest then break end
    size = size - redis.call('HSTRLEN', KEYS[1], oldest)
    redis.call('HDEL', KEYS[1], oldest)
end
redis.call('SET', KEYS[3], size)
"""

REMOVE_TAIL = """
-- KEYS: tail, order, size. ARGV: keys.
for i = 1, #ARGV do
    redis.call('DECRBY', KEYS[3], redis.call('HSTRLEN', KEYS[1], ARGV[i]))
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
end
"""
