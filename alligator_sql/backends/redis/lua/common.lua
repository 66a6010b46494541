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
--   4  canceled    SET   id of a task that was canceled while it is held
--   5  workers     ZSET  worker -> end of its lease
--   6  origins     HASH  worker -> who and where it is, for the text of an error
--   7  unique      HASH  unique key -> id of the live task that has it
--   8  successful  ZSET  id -> when it ended
--   9  failed      ZSET  id of a failed or canceled task -> when it ended
--  10  queue       HASH  paused: set while the queue is; idle: set once a worker found less
--                        than it wanted, until something wakes it; checked: when all running
--                        tasks were last looked at
--  11  the beginning of the others, `alligator:{queue}:`
--      task:<id>   HASH  the task: payload, binary (set when the payload is no text), func,
--                        status, priority, run_at, created_at, expires_at, unique_key, tags,
--                        attempts, crashes, lease, worker, started_at, finished_at, reason,
--                        error_kind, error_message, error_traceback, result, problem,
--                        suspect (set when a worker died that held it, and may have run it),
--                        canceled_at (set while it is in `canceled`), percent and progress
--                        (what it says of itself while it runs), awaited (set while somebody
--                        waits for its end)
--      wake        pub/sub channel: there may be something to claim
--      ended:<id>  pub/sub channel: the task has ended
--
-- Ids and workers are UUIDs of 32 hexadecimal digits. Times are milliseconds since 1970 on
-- the clock of the server. Outside of the queues, `alligator:queues` is the SET of their names.

local READY, DELAYED, RUNNING, CANCELED, WORKERS, ORIGINS, UNIQUE, SUCCESSFUL, UNSUCCESSFUL,
    QUEUE, BASE = unpack(KEYS)

-- A script that fails half way is not taken back, so what could fail fails here: an error says
-- that one of the keys holds something else.
for _, key in ipairs({ READY, DELAYED, WORKERS, SUCCESSFUL, UNSUCCESSFUL }) do
    redis.call('ZCARD', key)
end
for _, key in ipairs({ RUNNING, ORIGINS, UNIQUE, QUEUE }) do
    redis.call('HLEN', key)
end
redis.call('SCARD', CANCELED)

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
    local known = redis.call('HMGET', task, 'unique_key', 'awaited', 'canceled_at', 'percent')
    if known[1] then
        redis.call('HDEL', UNIQUE, known[1])
    end
    if known[2] then
        redis.call('HDEL', task, 'awaited')
        redis.call('PUBLISH', BASE .. 'ended:' .. id, '')
    end
    if known[3] then
        redis.call('HDEL', task, 'canceled_at')
        redis.call('SREM', CANCELED, id)
    end
    if known[4] then
        redis.call('HDEL', task, 'percent', 'progress')
    end
end

-- Give a task that was held back to the queue, due at `run_at` or, without that, as before.
-- Of the attempts, `refund` are taken back. One that was canceled meanwhile ends instead.
local function put_back(id, status, run_at, refund, now)
    local task = task_key(id)
    local known = redis.call('HMGET', task, 'priority', 'run_at', 'canceled_at')
    if refund > 0 then
        redis.call('HINCRBY', task, 'attempts', -refund)
    end
    if known[3] then
        finish(id, STATUS.canceled, 'canceled', now)
        return
    end
    local due = run_at or tonumber(known[2]) or now
    redis.call('HDEL', RUNNING, id)
    redis.call('HDEL', task, 'worker', 'started_at', 'percent', 'progress')
    redis.call('HSET', task, 'status', status, 'run_at', whole(due))
    queue_up(id, tonumber(known[1]) or 0, due, now)
end

-- Whether the lease of a worker lasts.
local function is_alive(worker, now)
    local ends = redis.call('ZSCORE', WORKERS, worker)
    return ends and tonumber(ends) > now
end

-- Whether a worker still holds a task under this lease: the fence of all that it says of it.
local function is_held(id, lease, worker)
    local known = redis.call('HMGET', task_key(id), 'status', 'lease', 'worker')
    return known[1] == STATUS.running and known[2] == lease and known[3] == worker
end

-- Note that a task which is held starts now; whoever dies from here on has run it.
local function begin(id, now)
    redis.call('HSET', task_key(id), 'started_at', whole(now))
end

-- Let a worker hold a task, which `begins` at once unless it is a suspect, and return what the
-- worker needs to know. Only the id comes back when there is no such task: something else was
-- in our keys.
local function hold(id, worker, begins, now)
    local task = task_key(id)
    local known = redis.pcall('HMGET', task, 'func', 'payload', 'binary', 'lease', 'attempts',
        'crashes', 'created_at', 'expires_at', 'suspect')
    if known.err or not known[1] or #id ~= 32 or string.find(id, '%X') then
        return { id }
    end
    local lease = (tonumber(known[4]) or 0) + 1
    local attempts = (tonumber(known[5]) or 0) + 1
    local expires_at = tonumber(known[8])
    redis.call('HSET', task, 'status', STATUS.running, 'lease', lease, 'attempts', attempts,
        'worker', worker)
    redis.call('HSET', RUNNING, id, worker)
    if begins and not known[9] then
        begin(id, now)
    end
    return { id, known[1], known[2], known[3], lease, attempts, tonumber(known[6]) or 0,
        now - (tonumber(known[7]) or now), expires_at and expires_at - now or false, known[9] }
end

-- Whether a task of `running` is still there. Should somebody have removed or overwritten it by
-- hand, it runs no more, and holds up no others.
local function is_running(id)
    if redis.pcall('HGET', task_key(id), 'status') == STATUS.running then
        return true
    end
    redis.call('HDEL', RUNNING, id)
    redis.call('SREM', CANCELED, id)
    return false
end

-- Remove a task and all that is known about it.
local function forget(id)
    local task = task_key(id)
    local key = redis.pcall('HGET', task, 'unique_key')
    if type(key) == 'string' and redis.call('HGET', UNIQUE, key) == id then
        redis.call('HDEL', UNIQUE, key)
    end
    redis.call('DEL', task)
end
