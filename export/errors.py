"""The one error that an export ends with."""


class ExportError(RuntimeError):
    """An export that cannot be done, or whose result did not pass its check; nothing was left behind."""
