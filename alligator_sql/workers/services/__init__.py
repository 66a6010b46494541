"""What a worker does beside running tasks, each service on a thread of its own."""
