-- Have the next new task announced: somebody begins to listen.
redis.call('HSET', QUEUE, 'idle', 1)
