"""Prompt templates: the sentences that a word stands in when the text tower encodes it, such as "a photo of a {}"."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lseg_serve.labelsets.text import kind_in_json

PLACE = "{}"  # of the word
# The most that a configuration may allow: CLIP's own list for ImageNet has 80.
MOST_TEMPLATES = 100


class TemplateError(ValueError):
    """A template that no word can stand in. The message says what is accepted."""


def checked_templates(templates: Sequence[object], most: int = MOST_TEMPLATES, length: int = 200) -> tuple[str, ...]:
    """`templates` without spaces around them; none for the word as it is, which `{}` alone is another way to say.

    Raises:
        TemplateError: there are more than `most`; or one is not a text, has more than `length` characters, is given
            twice, is not printable, or has not exactly one place `{}`.
    """
    if len(templates) > most:
        raise TemplateError(f"{len(templates)} templates were given; accepted: up to {most}")
    checked = [_checked(template, length) for template in templates]
    twice = next((one for number, one in enumerate(checked) if one in checked[:number]), None)
    if twice is not None:
        raise TemplateError(f"the template {twice!r} is given twice")
    return () if checked == [PLACE] else tuple(checked)


def read_templates(text: str) -> tuple[str, ...]:
    """The templates in `text`, one as it is or a JSON list of them, checked as `checked_templates` does.

    The bare word stays `{}` here, so that a request for it is told from none.

    Raises:
        TemplateError: as `checked_templates`, or no JSON list where the text begins with a bracket.
    """
    items = split_templates(text)
    return checked_templates(items) or (PLACE,)


def split_templates(text: str) -> list[object]:
    """The items of a JSON list of templates, which may be of any type, or `text` as the only one.

    Raises:
        TemplateError: the text begins with a bracket and is no JSON list.
    """
    if not text.lstrip().startswith("["):
        return [text]
    try:
        items: list[object] = json.loads(text)  # what begins with a bracket and is JSON is a list
    except (ValueError, RecursionError) as error:
        raise TemplateError(
            f"template begins with '[' but is not a JSON list: {str(error)[:100]}; accepted: a text with one {PLACE} "
            "in the place of the word, or a JSON list of such texts"
        ) from error
    return items


def filled(word: str, templates: Sequence[str]) -> list[str]:
    """The prompts that `templates` make of `word`; without templates the word itself."""
    return [template.replace(PLACE, word) for template in templates] or [word]


def _checked(template: object, length: int) -> str:
    accepted = f'accepted: a text with one {PLACE} in the place of the word, such as "a photo of a {PLACE}"'
    if not isinstance(template, str):
        raise TemplateError(f"a template is {kind_in_json(template)}; {accepted}")
    text = template.strip()
    if len(text) > length:
        raise TemplateError(f"a template ({text[:30]!r}...) has {len(text)} characters; accepted: up to {length}")
    if text.count(PLACE) != 1 or not text.isprintable():
        raise TemplateError(f"a template is {text[:60]!a}; {accepted}")
    return text
