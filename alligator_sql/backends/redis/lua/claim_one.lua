-- Hold the waiting task ARGV[2], due or not, for the worker ARGV[1]; nothing if none waits. It
-- begins at once, so it is no suspect any more.
local worker, id = ARGV[1], ARGV[2]
if not CLAIMABLE[redis.call('HGET', task_key(id), 'status')] then
    return false
end
redis.call('ZREM', READY, id)
redis.call('ZREM', DELAYED, id)
redis.call('HDEL', task_key(id), 'suspect')
return hold(id, worker, true, clock())
