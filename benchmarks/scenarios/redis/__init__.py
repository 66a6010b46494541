"""The scenarios on Redis and Valkey, where other task queues take part."""
