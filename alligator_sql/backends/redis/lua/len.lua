-- Return how many tasks wait, the delayed ones included.
return redis.call('ZCARD', READY) + redis.call('ZCARD', DELAYED)
