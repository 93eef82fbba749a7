"""The errors that an export ends with."""


class ExportError(RuntimeError):
    """An export that cannot be done, or whose result did not pass its check. Nothing is left behind."""


class ToleranceError(ExportError):
    """An archive whose logits are further from the checkpoint's than its precision may bring them."""
