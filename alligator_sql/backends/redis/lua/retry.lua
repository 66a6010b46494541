-- Let the failed or canceled task ARGV[1] wait again, due now. Returns 0 when it cannot.
local id = ARGV[1]
local task = task_key(id)
local known = redis.call('HMGET', task, 'status', 'unique_key', 'priority')
if known[1] ~= STATUS.failed and known[1] ~= STATUS.canceled then
    return 0
end
if known[2] and redis.call('HSETNX', UNIQUE, known[2], id) == 0 then
    return 0
end
local now = clock()
redis.call('ZREM', UNSUCCESSFUL, id)
redis.call('HDEL', task, 'attempts', 'crashes', 'worker', 'started_at', 'finished_at', 'reason',
    'expires_at', 'suspect')
redis.call('HSET', task, 'status', STATUS.waiting, 'run_at', whole(now))
queue_up(id, tonumber(known[3] or 0), now, now)
return 1
