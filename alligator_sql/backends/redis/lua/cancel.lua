-- End the waiting task ARGV[1] as canceled, or mark the running one and wake its worker. Returns
-- its payload and its binary mark.
local id = ARGV[1]
local known = redis.call('HMGET', task_key(id), 'status', 'payload', 'binary', 'canceled_at')
if known[1] == STATUS.running then
    if not known[4] then
        redis.call('HSET', task_key(id), 'canceled_at', whole(clock()))
        redis.call('SADD', CANCELED, id)
    end
    redis.call('PUBLISH', BASE .. 'wake', '')
elseif CLAIMABLE[known[1]] then
    redis.call('ZREM', READY, id)
    redis.call('ZREM', DELAYED, id)
    finish(id, STATUS.canceled, 'canceled', clock())
else
    return false
end
return { known[2], known[3] }
