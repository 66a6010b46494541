-- Return the milliseconds until the next task that is not due yet, if there is one.
local now = clock()
if redis.call('HEXISTS', QUEUE, 'paused') == 1 then
    return false
end
local first = redis.call('ZRANGEBYSCORE', DELAYED, '(' .. whole(now), '+inf',
    'WITHSCORES', 'LIMIT', 0, 1)
return first[2] and first[2] - now
