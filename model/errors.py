"""What this package refuses: a file that is no LSeg, and a label that the text tower cannot take."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded exactly; the message names the keys or values at fault."""


class LabelTooLongError(ValueError):
    """A label of more tokens than the text tower takes; the message names it."""
