-- Renew the lease of the worker ARGV[1] for ARGV[2] milliseconds, or begin it when ARGV[3] tells
-- who and where it is. Returns 0 when it had ended already.
local worker, ttl, origin = unpack(ARGV)
local now = clock()
if origin ~= '' then
    redis.call('HSET', ORIGINS, worker, origin)
elseif not is_alive(worker, now) then
    return 0
end
redis.call('ZADD', WORKERS, now + ttl, worker)
return 1
