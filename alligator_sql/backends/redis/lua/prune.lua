-- Remove up to ARGV[3] tasks that succeeded more than ARGV[1] milliseconds ago, or ended
-- otherwise more than ARGV[2] ago. Returns how many it were.
local now = clock()
local limit = tonumber(ARGV[3])
local pruned = 0
for history, keep in pairs({ [SUCCESSFUL] = ARGV[1], [UNSUCCESSFUL] = ARGV[2] }) do
    local old = redis.call('ZRANGEBYSCORE', history, '-inf', '(' .. whole(now - keep),
        'LIMIT', 0, limit - pruned)
    for _, id in ipairs(old) do
        redis.call('ZREM', history, id)
        -- Whoever removed it by hand may have enqueued it anew: then it lives.
        if redis.pcall('HEXISTS', task_key(id), 'finished_at') ~= 0 then
            forget(id)
        end
    end
    pruned = pruned + #old
end
return pruned
