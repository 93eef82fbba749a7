"""Speed and memory: the naive path, the served path and the engines side by side, with their accuracy."""
