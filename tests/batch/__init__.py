"""Batches over a Ray cluster and an object store."""
