-- End the lease of the worker ARGV[1]; when ARGV[2] is "1" it holds tasks that are to be rescued.
if ARGV[2] == '1' then
    redis.call('ZADD', WORKERS, clock(), ARGV[1])
else
    redis.call('ZREM', WORKERS, ARGV[1])
    redis.call('HDEL', ORIGINS, ARGV[1])
end
