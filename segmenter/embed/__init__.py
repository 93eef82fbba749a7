"""Embeddings of pixels: the vectors that scores are made of, as a map or at points, in every mode."""
