"""The network on its device: the shapes it may get, its warm-up, and the caches of its results."""
