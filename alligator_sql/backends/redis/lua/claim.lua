-- Hold up to ARGV[2] due tasks for the worker ARGV[1], the most urgent first. When ARGV[3] is
-- "1" all of them begin at once.
local worker, limit, begins = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local now = clock()
if not is_alive(worker, now) or redis.call('HEXISTS', QUEUE, 'paused') == 1 then
    return {}
end

-- What has become due meanwhile joins the others first, because it may be more urgent. When
-- more than these become due at one moment, the rest joins with the next claims.
local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 1000)
for _, id in ipairs(due) do
    local known = redis.pcall('HMGET', task_key(id), 'priority', 'run_at')
    redis.call('ZREM', DELAYED, id)
    redis.call('ZADD', READY, place(tonumber(known[1]) or 0, tonumber(known[2]) or now), id)
end

local popped = redis.call('ZPOPMIN', READY, limit)
local claims = {}
for at = 1, #popped, 2 do
    claims[#claims + 1] = hold(popped[at], worker, begins, now)
end
if #claims < limit then
    redis.call('HSET', QUEUE, 'idle', 1)
end
return claims
