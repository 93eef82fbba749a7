"""What goes wrong on the way from a task of an annotation tool to its regions."""

from __future__ import annotations


class AnnotationError(ValueError):
    """A task that gets no regions. The message is shown to the person who labels, and names what is accepted."""
