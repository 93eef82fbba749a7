"""The error of an evaluation that cannot be done or trusted."""


class EvaluationError(RuntimeError):
    """A message for the person who runs it: what was found, where, and what is accepted."""
