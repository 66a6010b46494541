-- Store tasks, all or none. ARGV has nine values for each: id, payload, "1" when that is
-- binary, func, priority, due, expires, unique key, tags; an empty text where there is none.
-- A moment is milliseconds from now, or with a leading @ since 1970; a unique key begins with =.
-- For each task returns 1, or, when the id is known or the key is taken, the id, the payload
-- and the binary mark of the task that is there.
local now = clock()

local function moment(text)
    if string.sub(text, 1, 1) == '@' then
        return tonumber(string.sub(text, 2))
    end
    return now + text
end

local function holder_of(id, key)
    if redis.call('EXISTS', task_key(id)) == 1 then
        return id
    end
    local holder = key ~= '' and redis.call('HGET', UNIQUE, string.sub(key, 2))
    -- A task that somebody has removed by hand must not keep its key for ever.
    return holder and redis.call('EXISTS', task_key(holder)) == 1 and holder
end

local receipts = {}
for at = 1, #ARGV, 9 do
    local id, payload, binary, func, priority, due, expires, key, tags = unpack(ARGV, at, at + 8)
    local holder = holder_of(id, key)
    if holder then
        receipts[#receipts + 1] =
            { holder, unpack(redis.call('HMGET', task_key(holder), 'payload', 'binary')) }
    else
        local run_at = math.max(now, due == '' and now or moment(due))
        local fields = {
            'payload', payload, 'func', func,
            'status', due == '' and STATUS.waiting or STATUS.delayed,
            'run_at', whole(run_at), 'created_at', whole(now),
        }
        local function add(name, value)
            fields[#fields + 1] = name
            fields[#fields + 1] = value
        end
        if binary ~= '' then add('binary', binary) end
        if priority ~= '0' then add('priority', priority) end
        if expires ~= '' then add('expires_at', whole(moment(expires))) end
        if tags ~= '' then add('tags', tags) end
        if key ~= '' then
            add('unique_key', string.sub(key, 2))
            redis.call('HSET', UNIQUE, string.sub(key, 2), id)
        end
        redis.call('HSET', task_key(id), unpack(fields))
        queue_up(id, tonumber(priority), run_at, now)
        receipts[#receipts + 1] = 1
    end
end
return receipts
