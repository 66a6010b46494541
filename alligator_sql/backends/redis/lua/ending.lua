-- Return how the task ARGV[1] has ended: status, result, problem, and kind, message, traceback
-- and reason of its failure. While it lives, returns 0 and has its end announced. Nothing is
-- returned when there is no such task.
local task = task_key(ARGV[1])
local known = redis.call('HMGET', task, 'status', 'result', 'problem', 'error_kind',
    'error_message', 'error_traceback', 'reason', 'finished_at')
if not known[1] then
    return false
end
if known[8] then
    return known
end
redis.call('HSET', task, 'awaited', 1)
return 0
