"""The one error that this room raises for a file it cannot use."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded exactly; the message names the keys or values at fault."""
