"""The project's own drawn world: a vocabulary, and scenes of it with a label for every pixel."""
