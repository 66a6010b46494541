-- Note that the worker ARGV[1] starts the suspects whose ids and leases follow now. Returns the
-- ids of those that it still holds.
local worker = ARGV[1]
local now = clock()
local held = {}
for at = 2, #ARGV, 2 do
    local id, lease = ARGV[at], ARGV[at + 1]
    if is_held(id, lease, worker) then
        begin(id, now)
        redis.call('HDEL', task_key(id), 'suspect')
        held[#held + 1] = id
    end
end
return held
