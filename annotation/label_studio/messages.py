"""What Label Studio sends, as far as it is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# Whoever prints a message, or an error about one, does not print a token.
_READ = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Setup(BaseModel):
    """The body of `/setup`: before each prediction, and when a backend is connected."""

    model_config = _READ

    project: str = ""  # its number and the time of its making: "1.1795790789"
    schema_: str = Field("", alias="schema")  # the labelling configuration
    hostname: str = ""  # Label Studio's address, as it knows itself
    access_token: str | None = Field(None, repr=False)  # of the project's owner


class Task(BaseModel):
    """An image and what is known of it."""

    model_config = _READ

    id: Any = None
    data: dict[str, Any] = {}
    annotations: list[dict[str, Any]] = []
    drafts: list[dict[str, Any]] = []


class Parameters(BaseModel):
    """What goes with a call."""

    model_config = _READ

    context: dict[str, Any] | None = None  # of an interactive call: {"result": [...]}


class Predict(BaseModel):
    """The body of `/predict`."""

    model_config = _READ

    tasks: list[Task]
    project: str = ""
    label_config: str = ""
    params: Parameters = Parameters()


def texts_of(task: Task, context: dict[str, Any] | None) -> dict[str, list[str]]:
    """What people have written in a task's text areas, by their names; what was written last holds."""
    results: list[object] = []
    for one in (*task.annotations, *task.drafts, context or {}):
        found = one.get("result")
        results += found if isinstance(found, list) else []
    texts: dict[str, list[str]] = {}
    for entry in results:
        match entry:
            case {"type": "textarea", "from_name": str(name), "value": {"text": list(text)}}:
                texts[name] = [str(line) for line in text]
            case {"type": "textarea", "from_name": str(name), "value": {"text": str(line)}}:
                texts[name] = [line]
    return texts
