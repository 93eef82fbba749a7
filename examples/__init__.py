"""What embeddings are used for, as scripts that run: a point cloud, a search, tracking (docs/examples.md)."""
