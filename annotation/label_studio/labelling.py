"""A project's labelling configuration: where regions go, how they are called, what the model is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.vocabulary import Entry, checked_words, words_in

Kind = Literal["brush", "polygon"]

_MOST_CHARACTERS: Final = 1_000_000
_DECLARATION: Final = re.compile("<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_FIELD: Final = re.compile(r"\$([A-Za-z0-9_-]+)")
_WITH_LABELS: Final[Mapping[str, Kind]] = {"BrushLabels": "brush", "PolygonLabels": "polygon"}
_SHAPES: Final[Mapping[str, Kind]] = {"Brush": "brush", "Polygon": "polygon"}
_ACCEPTED: Final = (
    "accepted: BrushLabels or PolygonLabels with labels, or Brush or Polygon beside Labels, whose toName is an Image "
    'with a value such as "$image"'
)


@dataclass(frozen=True)
class Label:
    """A label of the configuration."""

    name: str  # what a region is given: the alias, where there is one
    words: tuple[str, ...]  # what the model is asked for
    field: str | None  # of the task, or a text area's name: further words, free for each task


@dataclass(frozen=True)
class Labelling:
    """What a configuration says of the regions of one image.

    Regions of `kind` are made by the control `from_name`, which has the labels. Where the shape has a control of its
    own, `shape_name`, a region has an entry for each of both.
    """

    kind: Kind
    from_name: str
    shape_name: str | None
    to_name: str
    image_field: str  # of a task's data
    labels: tuple[Label, ...]
    text_areas: tuple[str, ...]  # names

    @property
    def fixed_words(self) -> frozenset[str]:
        """The words of the configuration itself."""
        return frozenset(word for label in self.labels for word in label.words)

    def entries_of(self, data: Mapping[str, object], texts: Mapping[str, Sequence[str]]) -> list[Entry]:
        """What one task asks for: the words of each label together, and each of its free words.

        A free word that is a label's by the configuration stays that label's.

        Args:
            data: the task's data. A field of free words is a text or a list of texts.
            texts: what was written in the text areas, by their names; it goes before the data.

        Raises:
            AnnotationError: a field holds no words.
        """
        entries, fixed = [], self.fixed_words
        for label in self.labels:
            free = _free_words(label.field, data, texts) if label.field else ()
            entries += [Entry(label.name, label.words)] if label.words else []
            entries += [Entry(label.name, (word,)) for word in free if word not in fixed]
        return entries


def read_labelling(config: str) -> Labelling:
    """What a project's labelling configuration says.

    Of several controls that would do, the first of these is taken: BrushLabels, Brush, PolygonLabels, Polygon.

    Raises:
        AnnotationError: it is no XML, declares entities, or has no control for masks of one image.
    """
    root = _parsed(config)
    images = {tag.get("name", ""): tag for tag in root.iter("Image")}
    labels = {tag.get("toName", ""): tag for tag in root.iter("Labels")}
    for tag, shape in (("BrushLabels", "Brush"), ("PolygonLabels", "Polygon")):
        for control in root.iter(tag):
            return _labelling(root, control, None, images, _WITH_LABELS[tag])
        for part in root.iter(shape):
            beside = labels.get(part.get("toName", ""))
            if beside is not None:
                return _labelling(root, beside, part, images, _SHAPES[shape])
    found = sorted({tag.tag for tag in root.iter() if tag.get("toName")})
    has = f"has {', '.join(found)}" if found else "has no control"
    raise AnnotationError(f"the labelling configuration {has}; {_ACCEPTED}")


def _parsed(config: str) -> ElementTree.Element:
    if len(config) > _MOST_CHARACTERS:
        raise AnnotationError(
            f"the labelling configuration has {len(config)} characters; accepted: up to {_MOST_CHARACTERS}"
        )
    # Without a document type there are no entities, which could grow without bound or name files.
    if _DECLARATION.search(config):
        raise AnnotationError("the labelling configuration declares a document type or entities, which is not accepted")
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:
        raise AnnotationError(f"the labelling configuration is no XML: {error}") from error


def _labelling(
    root: ElementTree.Element,
    control: ElementTree.Element,
    shape: ElementTree.Element | None,
    images: Mapping[str, ElementTree.Element],
    kind: Kind,
) -> Labelling:
    to_name = control.get("toName", "")
    image = images.get(to_name)
    if image is None:
        raise AnnotationError(f"{control.tag} has the toName {to_name!r}, which is no Image; {_ACCEPTED}")
    value = image.get("value", "")
    field = _FIELD.fullmatch(value)
    if field is None:
        several = " (images of a valueList are not supported)" if image.get("valueList") else ""
        raise AnnotationError(f"the Image {to_name!r} has the value {value!r}{several}; {_ACCEPTED}")
    labels = tuple(_label(tag) for tag in control.iter("Label"))
    if not labels:
        raise AnnotationError(
            f"{control.tag} has no Label (labels of each task, value={control.get('value')!r}, are not supported); "
            f"{_ACCEPTED}"
        )
    areas = tuple(tag.get("name", "") for tag in root.iter("TextArea"))
    shape_name = None if shape is None else shape.get("name", "")
    return Labelling(kind, control.get("name", ""), shape_name, to_name, field[1], labels, areas)


def _label(tag: ElementTree.Element) -> Label:
    value = tag.get("value", "")
    what = f"the label {value!r}"
    asked = tag.get("predicted_values")
    if asked is None:
        return Label(tag.get("alias") or value, checked_words([value], what), None)
    field = _FIELD.fullmatch(asked.strip())
    words = () if field else words_in(asked, f"{what}, predicted_values")
    return Label(tag.get("alias") or value, words, field[1] if field else None)


def _free_words(field: str, data: Mapping[str, object], texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    value: object = texts.get(field) or data.get(field)
    what = f"the free words in {field!r}"
    if value is None:
        return ()
    if isinstance(value, str):
        return words_in(value, what)
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise AnnotationError(f"{what} are of type {type(value).__name__}; accepted: a text, or a list of texts")
    return tuple(dict.fromkeys(word for text in value for word in words_in(text, what)))
