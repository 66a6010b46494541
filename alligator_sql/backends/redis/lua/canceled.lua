-- Return the ids of the tasks that were canceled while the worker ARGV[1] holds them.
local marked = {}
for _, id in ipairs(redis.call('SMEMBERS', CANCELED)) do
    if redis.call('HGET', RUNNING, id) == ARGV[1] then
        marked[#marked + 1] = id
    end
end
return marked
