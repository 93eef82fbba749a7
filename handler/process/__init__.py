"""How a worker process uses its machine: its share of the cores, and the memory that it keeps."""
