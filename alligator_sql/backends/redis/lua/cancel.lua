-- End the waiting task ARGV[1] as canceled, and return its payload and its binary mark.
local id = ARGV[1]
local known = redis.call('HMGET', task_key(id), 'status', 'payload', 'binary')
if not CLAIMABLE[known[1]] then
    return false
end
redis.call('ZREM', READY, id)
redis.call('ZREM', DELAYED, id)
finish(id, STATUS.canceled, 'canceled', clock())
return { known[2], known[3] }
