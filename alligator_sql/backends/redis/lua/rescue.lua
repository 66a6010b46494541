-- Take back the tasks of dead workers, up to ARGV[2] of them, and return their ids. Each counts
-- one crash more; with ARGV[1] of them it fails. A worker that is not known is dead too; that
-- costs a look at all running tasks, so without a dead one it is looked for every ARGV[3] ms.
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

local rescued = {}
local running = redis.call('HGETALL', RUNNING)
for at = 1, #running, 2 do
    local id = running[at]
    if not lives(running[at + 1]) then
        if #rescued == limit then
            return rescued -- the dead stay known until all of their tasks are taken back
        end
        local task = task_key(id)
        local crashes = redis.call('HINCRBY', task, 'crashes', 1)
        if crashes >= max_crashes then
            remember_failure(task, 'WorkerDied',
                crashes .. ' workers died while they ran this task.', '')
            finish(id, STATUS.failed, 'quarantined', now)
        else
            put_back(id, STATUS.waiting, nil, 0, now)
        end
        rescued[#rescued + 1] = id
    end
end
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', now)
redis.call('HSET', QUEUE, 'checked', whole(now))
return rescued
