-- Take back the tasks of dead workers, up to ARGV[2] of them, and return their ids. Each that had
-- begun counts one crash more; with ARGV[1] of them it fails. The others become suspects. A
-- worker that is not known is dead too; that costs a look at all running tasks, so without a
-- dead one it is looked for every ARGV[3] ms.
local max_crashes, limit, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = clock()
local checked = redis.call('HGET', QUEUE, 'checked')
if redis.call('ZCOUNT', WORKERS, '-inf', now) == 0 and checked and now - checked < pause then
    return {}
end

local alive = {}
local function lives(worker)
    if alive[worker] == nil then
        alive[worker] = is_alive(worker, now) or false
    end
    return alive[worker]
end

local function take_back(id, worker)
    local task = task_key(id)
    local known = redis.call('HMGET', task, 'started_at', 'canceled_at')
    if not known[1] then
        redis.call('HSET', task, 'suspect', 1)
        put_back(id, STATUS.waiting, nil, 1, now)
        return
    end
    local crashes = redis.call('HINCRBY', task, 'crashes', 1)
    if crashes < max_crashes or known[2] then
        put_back(id, STATUS.waiting, nil, 0, now)
        return
    end
    local last = redis.call('HGET', ORIGINS, worker) or worker
    remember_failure(task, 'WorkerDied', crashes ..
        ' workers died while they ran this task; the last was ' .. last .. '.', '')
    finish(id, STATUS.failed, 'quarantined', now)
end

local rescued = {}
local running = redis.call('HGETALL', RUNNING)
for at = 1, #running, 2 do
    local id, worker = running[at], running[at + 1]
    if not lives(worker) then
        if #rescued == limit then
            return rescued -- the dead stay known until all of their tasks are taken back
        end
        if is_running(id) then
            take_back(id, worker)
            rescued[#rescued + 1] = id
        end
    end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now)) do
    redis.call('ZREM', WORKERS, worker)
    redis.call('HDEL', ORIGINS, worker)
end
redis.call('HSET', QUEUE, 'checked', whole(now))
return rescued
