"""The values of options that say how images are segmented, as argparse reads them."""

from __future__ import annotations

import argparse
from typing import Any

from lseg_serve.labelsets import (
    LabelFileError,
    LabelTextError,
    TemplateError,
    as_json,
    label_of,
    parse_labels,
    read_label_file,
    read_templates,
    split_labels,
)


def labels_of(text: str) -> list[Any]:
    """The labels of an option's value, by commas, a JSON list, or @FILE, as JSON holds them.

    Raises:
        argparse.ArgumentTypeError: it is none of these.
    """
    try:
        if text.startswith("@"):
            return list(map(as_json, parse_labels(read_label_file(text[1:]), text[1:])))
        labels = [as_json(label_of(item)) for item in split_labels(text)]
    except LabelFileError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except LabelTextError as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: {error}") from error
    if not labels:
        raise argparse.ArgumentTypeError(f"{text!r} holds no label; accepted: texts")
    return labels


def template_of(text: str) -> list[str]:
    """The sentences of an option's value: one, or a JSON list.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return list(read_templates(text))
    except TemplateError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def share_of(text: str) -> float:
    """An option's value from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: 0 to 1")
    return number


def pixels_of(text: str) -> float:
    """An option's value from 0 to 100 pixels.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: 0 to 100 pixels")
    return number


def jobs_of(text: str) -> int:
    """A number of requests from 1 to 64.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests; accepted: 1 to 64")
    return int(text)
