-- Keep what the worker ARGV[1] says of the progress of the tasks that it holds: for each of them
-- the id, the percentage and a text follow.
for at = 2, #ARGV, 3 do
    local id, percent, progress = unpack(ARGV, at, at + 2)
    if redis.call('HGET', RUNNING, id) == ARGV[1] then
        redis.call('HSET', task_key(id), 'percent', percent, 'progress', progress)
    end
end
