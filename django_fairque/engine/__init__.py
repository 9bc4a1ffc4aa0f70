"""The queue: it knows Redis and the life of a task, and never imports Django."""
