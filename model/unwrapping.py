"""The readings of a checkpoint's content: every place in it where the tensors of an LSeg may lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from lseg_serve.model.restricted_pickle import StandIn
from lseg_serve.model.words import printable, shortened

# Every LSeg has this tensor. What precedes it in a key is the prefix of a Lightning module or another wrapper.
LANDMARK = "scratch.head1.weight"
_PARTS = ("pretrained.", "scratch.", "clip_pretrained.")  # how the keys of lang-seg begin
MOST_READINGS = 20  # no training has as many, and each takes time
_DEEPEST = 20  # containers inside each other
_SHOWN = 8


@dataclass(frozen=True)
class Reading:
    """One dictionary of a file, with the keys below one prefix."""

    place: tuple[str, ...]  # the keys that lead to the dictionary
    name: str  # these and the prefix, joined by dots; "." at the top
    tensors: dict[str, Tensor]  # under lang-seg's keys
    beside: tuple[str, ...]  # keys of the tensors in the same dictionary that do not begin with the prefix
    odd: dict[str, str]  # lang-seg's keys that have no tensor: what they have instead
    hyper_parameters: dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """A container in a file."""

    keys: tuple[str, ...]
    content: Any
    hyper_parameters: dict[str, Any]  # the nearest around it


def find_readings(content: object) -> list[Reading]:
    """The readings of `content`, the outermost first; of more than `MOST_READINGS` the first."""
    return list(islice(_readings(content), MOST_READINGS + 1))


def _readings(content: object) -> Iterator[Reading]:
    for place in _places(content):
        for key, value in _items(place.content):
            if isinstance(key, str) and isinstance(value, Tensor) and f".{key}".endswith(f".{LANDMARK}"):
                yield _reading(place, key.removesuffix(LANDMARK))


def what_was_seen(content: object) -> str:
    """A file without a reading, in words: where it has tensors, else what it has."""
    stand_ins = [place.content for place in _places(content) if isinstance(place.content, StandIn)]
    names = [stand_in.name for stand_in in stand_ins if "_modules" in stand_in]
    if names:
        return (
            f"it holds a whole module ({printable(names[0])}), which only its own code can load; save its tensors "
            "where that code is: torch.save(model.state_dict(), FILE)"
        )
    held = {place.keys: tensors for place in _places(content) if (tensors := _tensor_keys(place.content))}
    if held:
        largest = sorted(held, key=lambda keys: -len(held[keys]))[:_SHOWN]
        seen = [
            f"{len(held[keys])} {'at ' + printable('.'.join(keys)) if keys else 'at the top'}, the first "
            f"{printable(held[keys][0])!r}"
            for keys in largest
        ]
        return f"there is no tensor {LANDMARK!r} among its tensors: {'; '.join(seen)}"
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__} without tensors"
    keys = [printable(_name(key)) for key in list(content)[:_SHOWN]]
    return f"there is no tensor in it; its keys: {', '.join(keys) or 'none'}"


def _places(content: object) -> Iterator[_Place]:
    """Every dictionary, list and tuple of a file once, the outermost first. They may hold each other in a circle."""
    waiting, seen = deque([_Place((), content, {})] if isinstance(content, (dict, list, tuple)) else []), set()
    while waiting:
        place = waiting.popleft()
        if id(place.content) in seen or len(place.keys) > _DEEPEST:
            continue
        seen.add(id(place.content))
        hyper_parameters = place.hyper_parameters
        if isinstance(place.content, dict):
            own = place.content.get("hyper_parameters")
            hyper_parameters = dict(own) if isinstance(own, dict) else hyper_parameters
        yield _Place(place.keys, place.content, hyper_parameters)
        for key, inner in _items(place.content):
            if isinstance(inner, (dict, list, tuple)):
                waiting.append(_Place((*place.keys, _name(key)), inner, hyper_parameters))


def _items(content: Any) -> Iterable[tuple[object, object]]:
    return content.items() if isinstance(content, dict) else enumerate(content)


def _tensor_keys(content: object) -> list[str]:
    return [_name(key) for key, value in _items(content) if isinstance(value, Tensor)]


def _name(key: object) -> str:
    """A key in a name: keys may be anything, and a text alone is sure to be one as it is."""
    return key if isinstance(key, str) else shortened(key)


def _reading(place: _Place, prefix: str) -> Reading:
    texts = {key: value for key, value in place.content.items() if isinstance(key, str)}
    inside = {key.removeprefix(prefix): value for key, value in texts.items() if key.startswith(prefix)}
    return Reading(
        place=place.keys,
        name=".".join((*place.keys, *prefix.removesuffix(".").split("."))).strip(".") or ".",
        tensors={key: value for key, value in inside.items() if isinstance(value, Tensor)},
        beside=tuple(key for key in _tensor_keys(texts) if not key.startswith(prefix)),
        odd={
            key: repr(value) if isinstance(value, StandIn) else type(value).__name__
            for key, value in inside.items()
            if key.startswith(_PARTS) and not isinstance(value, Tensor)
        },
        hyper_parameters=place.hyper_parameters,
    )
