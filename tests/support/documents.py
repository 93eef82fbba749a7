"""The Markdown documents of the project, taken apart: code blocks with their directives, headings, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Languages whose blocks must run, or say why they cannot.
RUNNABLE = ("sh", "bash", "python", "json", "yaml")

_FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
_DIRECTIVE = re.compile(r"^<!--\s*(not run|prints)(?::\s*(.*?))?\s*-->$", re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*)$")
_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    document: str  # path in the checkout
    line: int  # of the opening fence, from 1
    language: str
    text: str
    directive: str | None = None  # "not run" or "prints"
    reason: str = ""
    output: str | None = None  # what the block prints, by the block that follows it
    output_language: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(path: Path, root: Path) -> list[Block]:
    """The blocks of a document in their order; one that says what another prints is attached to that other."""
    blocks: list[Block] = []
    for block in _all_blocks(path.read_text(encoding="utf-8").splitlines(), str(path.relative_to(root))):
        if block.directive == "prints":
            if not blocks:
                raise ValueError(f"{block} says what the block before it prints, and there is none")
            before = blocks.pop()
            block = Block(
                before.document, before.line, before.language, before.text, before.directive, before.reason,
                output=block.text, output_language=block.language,
            )  # fmt: skip
        blocks.append(block)
    return blocks


def _all_blocks(lines: list[str], document: str) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        start, number = number, number + 1
        while number < len(lines) and lines[number].rstrip() != fence[1]:
            number += 1
        directive, reason = _directive(lines[:start])
        text = "\n".join(lines[start + 1 : number]) + "\n"
        yield Block(document, start + 1, fence[2], text, directive, reason)
        number += 1


def _directive(before: list[str]) -> tuple[str | None, str]:
    """The comment directly above a block; it may have several lines."""
    if not before or not before[-1].rstrip().endswith("-->"):
        return None, ""
    start = next((at for at in range(len(before) - 1, -1, -1) if before[at].startswith("<!--")), len(before))
    comment = _DIRECTIVE.match("\n".join(before[start:]).strip())
    return (comment[1], " ".join((comment[2] or "").split())) if comment else (None, "")


def links_of(path: Path) -> list[str]:
    """The targets of links and images, code left out."""
    return [target for line in _prose(path) for target in _LINK.findall(_CODE.sub("", line))]


def anchors_of(path: Path) -> set[str]:
    """The names by which GitHub links to the headings of a document."""
    headings = [match[1] for line in _prose(path) if (match := _HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _prose(path: Path) -> Iterator[str]:
    fence = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _FENCE.match(line)
        if fence:
            fence = "" if line.rstrip() == fence else fence
        elif match:
            fence = match[1]
        else:
            yield line


def text_matches(expected: str, actual: str) -> bool:
    """Whether `actual` is `expected`, in which `...` stands for anything in a line; as a line of its own, any lines."""
    lines = expected.strip("\n").splitlines()
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "..." else _line_pattern(line) + r"\n" for line in lines)
    return re.fullmatch(pattern, actual.strip("\n") + "\n") is not None


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


def json_matches(expected: object, actual: object) -> bool:
    """Whether `actual` is `expected`, in which "..." stands for any value, for further items, or for further keys."""
    if expected == "...":
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        named = {key: value for key, value in expected.items() if key != "..."}
        if set(named) - set(actual) or (len(named) == len(expected) and set(actual) - set(named)):
            return False
        return all(json_matches(value, actual[key]) for key, value in named.items())
    if isinstance(expected, list) and isinstance(actual, list):
        more = expected[-1:] == ["..."]
        first = expected[:-1] if more else expected
        if len(actual) < len(first) or (len(actual) > len(first) and not more):
            return False
        return all(json_matches(one, other) for one, other in zip(first, actual, strict=False))
    return expected == actual
