-- Hand back what the worker ARGV[1] holds beyond the ids that follow, and return the ids.
local worker = ARGV[1]
local now = clock()
local held = {}
for at = 2, #ARGV do
    held[ARGV[at]] = true
end
local running = redis.call('HGETALL', RUNNING)
local lost = {}
for at = 1, #running, 2 do
    local id = running[at]
    if running[at + 1] == worker and not held[id] and is_running(id) then
        put_back(id, STATUS.waiting, nil, 1, now)
        lost[#lost + 1] = id
    end
end
return lost
