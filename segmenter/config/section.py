"""A section of model-config.yaml: a frozen pydantic model that refuses a key or a value in this project's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo

from lseg_serve.model.words import printable, shortened
from lseg_serve.segmenter.errors import ConfigError

SectionT = TypeVar("SectionT", bound="Section")


@dataclass(frozen=True)
class Accepted:
    """What a key accepts, in words. It stands in the annotation of a key whose type alone does not say it."""

    words: str


class Section(BaseModel):
    """A section of keys. Types are strict: the text "4" is no number, and 1 is not true."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    place: ClassVar[str] = ""  # the path of this section in the file, such as "lseg.hpu"

    def replaced(self: SectionT, **changes: Any) -> SectionT:
        """The same section with `changes`, which are checked as any other values.

        Raises:
            ConfigError: an unknown key, or a value that is not accepted.
        """
        return type(self).model_validate({**dict(self), **changes})

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, values: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        """Pydantic checks. What it finds is raised as a ConfigError, which pydantic lets pass as it is."""
        try:
            return handler(values)
        except ValidationError as error:
            raise ConfigError(_message(cls, values, error)) from None


def keys(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as the file writes them, with what pydantic knows of each."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def accepted(field: FieldInfo) -> str:
    """What a key accepts, for messages and for docs/configuration.md."""
    for note in field.metadata:
        if isinstance(note, Accepted):
            return note.words
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    if field.annotation is int:
        return _whole_number(field.metadata)
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        return ", ".join(keys(field.annotation))
    raise TypeError(f"{field.annotation} has no words; give the key an Accepted(...)")


def _whole_number(notes: list[Any]) -> str:
    lowest, highest, multiple = (_limit(notes, name) for name in ("ge", "le", "multiple_of"))
    bounds = f"from {lowest} on" if highest is None else f"from {lowest} to {highest}"
    return f"a whole number {bounds}" + ("" if multiple is None else f", a multiple of {multiple}")


def _limit(notes: list[Any], name: str) -> int | None:
    return next((getattr(note, name) for note in notes if hasattr(note, name)), None)


def _message(section: type[Section], values: object, error: ValidationError) -> str:
    """The first of pydantic's findings as "KEY is VALUE; accepted: ...". An unknown key comes before all others."""
    known = keys(section)
    if not isinstance(values, Mapping):
        return f"{section.place} is {shortened(values)}; accepted: {', '.join(known)}"
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        return f"unknown key {printable(_path(section, unknown[0]))!r}; accepted: {', '.join(sorted(known))}"
    key = str(error.errors(include_url=False)[0]["loc"][0])
    return f"{_path(section, key)} is {shortened(values[key])}; accepted: {accepted(known[key])}"


def _path(section: type[Section], key: str) -> str:
    return f"{section.place}.{key}" if section.place else key
