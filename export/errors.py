"""The one error that an export ends with."""


class ExportError(RuntimeError):
    """An export that cannot be done, or whose result did not pass its check; nothing was left behind."""


class ToleranceError(ExportError):
    """An archive whose answers are further from the checkpoint's than its precision may bring them."""


class UnfitError(ExportError):
    """A precision that is not worth its loss of accuracy on this machine; another is tried."""
