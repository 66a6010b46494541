-- Renew the lease of the worker ARGV[1] for ARGV[2] milliseconds, or begin it when ARGV[3] is
-- "1". Returns 0 when it had ended already.
local now = clock()
if ARGV[3] ~= '1' and not is_alive(ARGV[1], now) then
    return 0
end
redis.call('ZADD', WORKERS, now + ARGV[2], ARGV[1])
return 1
