"""The network on its device: planned shapes, warm-up and caches."""
