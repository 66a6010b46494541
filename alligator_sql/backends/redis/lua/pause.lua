-- Pause the queue when ARGV[1] is "1", else end its pause.
if ARGV[1] == '1' then
    redis.call('HSET', QUEUE, 'paused', 1)
elseif redis.call('HDEL', QUEUE, 'paused') == 1 then
    redis.call('HSET', QUEUE, 'idle', 1) -- nobody looked while it was paused
    wake()
end
