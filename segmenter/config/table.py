"""The keys of model-config.yaml as Markdown, made from the models that check them: for docs/configuration.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from lseg_serve.segmenter.config.lseg import Config
from lseg_serve.segmenter.config.section import Section, accepted, keys
from lseg_serve.segmenter.config.torchserve import ModelConfigFile

BEGIN = "<!-- keys: begin, written by `python -m segmenter configuration docs/configuration.md` -->"
END = "<!-- keys: end -->"
_HEAD = ("| key | accepted | default | meaning |", "|---|---|---|---|")


def markdown() -> str:
    """A table of the keys of the section `lseg`, and one of TorchServe's own keys."""
    unread = [key for key, field in keys(ModelConfigFile).items() if field.annotation is Any and key != Config.place]
    return "\n".join(
        [
            "### Keys of the section `lseg`",
            "",
            *_HEAD,
            *_rows(Config, ""),
            "",
            "### TorchServe's own keys",
            "",
            "They stand at the top level of the file. The defaults hold for a file that does not name them.",
            "",
            *_HEAD,
            *_rows(ModelConfigFile, ""),
            "",
            f"Passed on unread: {', '.join(f'`{key}`' for key in unread)}.",
        ]
    )


def written_into(page: str) -> str:
    """`page` with the tables between its markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no table; accepted: a page with the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    for key, field in keys(section).items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _rows(field.annotation, f"{key}.")
        elif field.description is not None:
            yield f"| `{prefix}{key}` | {accepted(field)} | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    return "none" if field.default is None else f"`{json.dumps(field.default).strip(chr(34))}`"
