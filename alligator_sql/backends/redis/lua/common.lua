-- What all scripts share. It stands before each of them when they are loaded.
--
-- Every key of a queue begins with `alligator:{queue}:`. The braces make it the hash tag, so
-- that a cluster keeps all of them in one slot. Every script gets the same KEYS in the same
-- order. The hashes of the tasks that a script finds by itself cannot be known before; they
-- are named after the last of the KEYS and thus in the same slot.
--
--   1  ready       ZSET  id of a task that is due -> its place: priority, then due time
--   2  delayed     ZSET  id of a task that is not due yet -> due time
--   3  running     HASH  id of a task that is held -> its worker
--   4  workers     ZSET  worker -> end of its lease
--   5  unique      HASH  unique key -> id of the live task that has it
--   6  successful  ZSET  id -> when it ended
--   7  failed      ZSET  id of a failed or canceled task -> when it ended
--   8  queue       HASH  paused: set while the queue is; idle: set once a worker found less
--                        than it wanted, until something wakes it; checked: when all running
--                        tasks were last looked at
--   9  the beginning of the others, `alligator:{queue}:`
--      task:<id>   HASH  the task: payload, binary (set when the payload is no text), func,
--                        status, priority, run_at, created_at, expires_at, unique_key, tags,
--                        attempts, crashes, lease, worker, started_at, finished_at, reason,
--                        error_kind, error_message, error_traceback, result, problem,
--                        awaited (set while somebody waits for its end)
--      wake        pub/sub channel: there may be something to claim
--      ended:<id>  pub/sub channel: the task has ended
--
-- Ids and workers are UUIDs of 32 hexadecimal digits. Times are milliseconds since 1970 on
-- the clock of the server. Outside of the queues, `alligator:queues` is the SET of their names.

local READY, DELAYED, RUNNING, WORKERS, UNIQUE, SUCCESSFUL, UNSUCCESSFUL, QUEUE, BASE =
    unpack(KEYS)

-- A script that fails half way is not taken back, so what could fail fails here: an error says
-- that one of the keys holds something else.
for _, key in ipairs({ READY, DELAYED, WORKERS, SUCCESSFUL, UNSUCCESSFUL }) do
    redis.call('ZCARD', key)
end
for _, key in ipairs({ RUNNING, UNIQUE, QUEUE }) do
    redis.call('HLEN', key)
end

local STATUS = {
    waiting = '0', success = '1', failed = '2', delayed = '3',
    retrying = '4', canceled = '5', running = '6',
}
local CLAIMABLE = { ['0'] = true, ['3'] = true, ['4'] = true }

-- The place of a task in `ready` is one number that a double holds exactly: the priority
-- above, the hundredths of a second since 2020 below, which have room until 2063.
local PRIORITY_STEP = 2 ^ 37
local EPOCH = 1577836800000

local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function task_key(id)
    return BASE .. 'task:' .. id
end

local function whole(number)
    return string.format('%.0f', number)
end

-- Wake the workers once: the next message is for those who found too little after this one.
local function wake()
    if redis.call('HDEL', QUEUE, 'idle') == 1 then
        redis.call('PUBLISH', BASE .. 'wake', '')
    end
end

local function place(priority, run_at)
    local hundredths = math.floor((run_at - EPOCH) / 10)
    return math.max(0, math.min(hundredths, PRIORITY_STEP - 1)) - priority * PRIORITY_STEP
end

-- Let a task wait: among the ready ones when it is due, else among the delayed ones.
local function queue_up(id, priority, run_at, now)
    if run_at <= now then
        redis.call('ZADD', READY, place(priority, run_at), id)
        wake()
    else
        redis.call('ZADD', DELAYED, run_at, id)
        if redis.call('ZRANGE', DELAYED, 0, 0)[1] == id then
            wake() -- workers sleep until the first of them is due, and that has changed
        end
    end
end

-- Give a task that was held back to the queue, due at `run_at` or, without that, as before.
-- Of the attempts, `refund` are taken back.
local function put_back(id, status, run_at, refund, now)
    local task = task_key(id)
    local known = redis.call('HMGET', task, 'priority', 'run_at')
    local due = run_at or tonumber(known[2]) or now
    redis.call('HDEL', RUNNING, id)
    redis.call('HDEL', task, 'worker', 'started_at')
    redis.call('HSET', task, 'status', status, 'run_at', whole(due))
    if refund > 0 then
        redis.call('HINCRBY', task, 'attempts', -refund)
    end
    queue_up(id, tonumber(known[1]) or 0, due, now)
end

local function remember_failure(task, kind, message, traceback)
    redis.call('HSET', task, 'error_kind', kind, 'error_message', message,
        'error_traceback', traceback)
end

-- End a task: it moves into the history, lets go of its unique key, and those who wait learn.
local function finish(id, status, reason, finished_at)
    local task = task_key(id)
    redis.call('HDEL', RUNNING, id)
    redis.call('HSET', task, 'status', status, 'finished_at', whole(finished_at))
    if reason ~= '' then
        redis.call('HSET', task, 'reason', reason)
    end
    redis.call('ZADD', status == STATUS.success and SUCCESSFUL or UNSUCCESSFUL, finished_at, id)
    local known = redis.call('HMGET', task, 'unique_key', 'awaited')
    if known[1] then
        redis.call('HDEL', UNIQUE, known[1])
    end
    if known[2] then
        redis.call('HDEL', task, 'awaited')
        redis.call('PUBLISH', BASE .. 'ended:' .. id, '')
    end
end

-- Whether the lease of a worker lasts.
local function is_alive(worker, now)
    local ends = redis.call('ZSCORE', WORKERS, worker)
    return ends and tonumber(ends) > now
end

-- Let a worker hold a task, and return what the worker needs to know. Only the id comes back
-- when there is no such task: something else was in our keys.
local function hold(id, worker, now)
    local task = task_key(id)
    local known = redis.pcall('HMGET', task, 'func', 'payload', 'binary', 'lease', 'attempts',
        'crashes', 'created_at', 'expires_at')
    if known.err or not known[1] or #id ~= 32 or string.find(id, '%X') then
        return { id }
    end
    local lease = (tonumber(known[4]) or 0) + 1
    local attempts = (tonumber(known[5]) or 0) + 1
    local expires_at = tonumber(known[8])
    redis.call('HSET', task, 'status', STATUS.running, 'lease', lease, 'attempts', attempts,
        'worker', worker, 'started_at', whole(now))
    redis.call('HSET', RUNNING, id, worker)
    return { id, known[1], known[2], known[3], lease, attempts, tonumber(known[6]) or 0,
        now - (tonumber(known[7]) or now), expires_at and expires_at - now or false }
end

-- Remove a task and all that is known about it.
local function forget(id)
    local task = task_key(id)
    local key = redis.call('HGET', task, 'unique_key')
    if key and redis.call('HGET', UNIQUE, key) == id then
        redis.call('HDEL', UNIQUE, key)
    end
    redis.call('DEL', task)
end
