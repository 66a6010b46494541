-- Persist outcomes of the worker ARGV[1]. For each ARGV has the id, the lease, the milliseconds
-- since it ended, the milliseconds that it ran (or an empty text), the outcome, and what that
-- outcome needs. Returns the ids of those whose fence held: the others change nothing.
local worker = ARGV[1]
local now = clock()

-- For each outcome: how many values it needs, and what it does with them.
local outcomes = {
    succeeded = { 0, function(id, ended)
        finish(id, STATUS.success, '', ended)
    end },
    kept = { 2, function(id, ended, result, problem)
        redis.call('HSET', task_key(id), result ~= '' and 'result' or 'problem',
            result ~= '' and result or problem)
        finish(id, STATUS.success, '', ended)
    end },
    failed = { 5, function(id, ended, kind, message, traceback, reason, started)
        remember_failure(task_key(id), kind, message, traceback)
        if started == '0' then
            redis.call('HINCRBY', task_key(id), 'attempts', -1)
        end
        finish(id, STATUS.failed, reason, ended)
    end },
    canceled = { 3, function(id, ended, kind, message, traceback)
        remember_failure(task_key(id), kind, message, traceback)
        finish(id, STATUS.canceled, 'canceled', ended)
    end },
    retry = { 6, function(id, _, delay, payload, binary, kind, message, traceback)
        local task = task_key(id)
        remember_failure(task, kind, message, traceback)
        redis.call('HSET', task, 'payload', payload)
        if binary == '1' then
            redis.call('HSET', task, 'binary', binary)
        else
            redis.call('HDEL', task, 'binary')
        end
        redis.call('HDEL', task, 'suspect')
        put_back(id, STATUS.retrying, now + delay, 0, now)
    end },
    snoozed = { 1, function(id, _, delay)
        redis.call('HDEL', task_key(id), 'suspect')
        put_back(id, STATUS.waiting, now + delay, 1, now)
    end },
    released = { 0, function(id)
        put_back(id, STATUS.waiting, nil, 1, now)
    end },
}

local applied = {}
local at = 2
while at <= #ARGV do
    local id, lease, ago, ran, outcome = unpack(ARGV, at, at + 4)
    local needs, apply = unpack(outcomes[outcome])
    if is_held(id, lease, worker) then
        local ended = now - ago
        if ran ~= '' then
            redis.call('HSET', task_key(id), 'started_at', whole(ended - ran))
        end
        apply(id, ended, unpack(ARGV, at + 5, at + 4 + needs))
        applied[#applied + 1] = id
    end
    at = at + 5 + needs
end
return applied
