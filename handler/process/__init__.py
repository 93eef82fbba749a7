"""What a worker is allowed to use of its machine: threads, memory, and how many workers share it."""
