"""Reading a checkpoint: of all that a file holds, the one LSeg in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.checkpoint_file import read_file
from lseg_serve.model.errors import CheckpointError
from lseg_serve.model.keys import is_unused
from lseg_serve.model.unwrapping import MOST_READINGS, Reading, find_readings, what_was_seen
from lseg_serve.model.wholeness import extra_keys, faults, listed, needed_tensors
from lseg_serve.model.words import printable

# How trainings name the running average of a model that they keep beside it.
_AVERAGE = re.compile(r"(^|[._])(ema|swa|avg|averaged?)([._]|$)", re.IGNORECASE)


def read_checkpoint(path: str | Path, *, tensors: str | None = None, ignore_extra: bool = False) -> Checkpoint:
    """Read a Lightning checkpoint, a state dict or another file of torch.save, or a safetensors file.

    The tensors are found below any keys and any prefix. Where there are several sets of them, the only one with all
    that an LSeg needs is taken.

    Args:
        path: of the file.
        tensors: the name of the set to take, as the error of an ambiguous file lists them.
        ignore_extra: drop what is no part of the network: other tensors beside it, and a running average of it.

    Raises:
        CheckpointError: no such file, an unreadable one, or none or several networks in it.
    """
    path = Path(path)
    content, stated = read_file(path)
    readings = find_readings(content)
    if not readings:
        raise CheckpointError(f"{path}: not an LSeg checkpoint: {what_was_seen(content)}")
    if len(readings) > MOST_READINGS:
        raise CheckpointError(f"{path}: it has more than {MOST_READINGS} sets of tensors; accepted: a file of one LSeg")
    reading = _chosen(path, readings, stated, tensors, ignore_extra)
    odd = [f"{key} is {what}" for key, what in reading.odd.items() if not is_unused(key)]
    if odd:
        raise CheckpointError(f"{path}: not a tensor: {listed(odd)}")
    checkpoint = _checkpoint(path, reading, stated)
    return _without_extra(checkpoint, reading, readings) if ignore_extra else checkpoint


def _checkpoint(path: Path, reading: Reading, stated: Architecture | None) -> Checkpoint:
    return Checkpoint(path, reading.tensors, reading.hyper_parameters, stated, reading.beside)


def _without_extra(checkpoint: Checkpoint, reading: Reading, readings: list[Reading]) -> Checkpoint:
    """`checkpoint` without what is no part of its network, which is named: tensors beside it, and the other sets."""
    extra = dict.fromkeys(extra_keys(needed_tensors(checkpoint), checkpoint.tensors))
    kept = {key: value for key, value in checkpoint.tensors.items() if key not in extra}
    others = [other.name for other in readings if other.place != reading.place]
    return replace(checkpoint, tensors=kept, extra=(), ignored=(*others, *extra, *checkpoint.extra))


def _chosen(
    path: Path, readings: list[Reading], stated: Architecture | None, name: str | None, drop_averages: bool
) -> Reading:
    if name is not None:
        named = [reading for reading in readings if reading.name == name]
        if len(named) != 1:
            names = ", ".join(repr(printable(reading.name)) for reading in readings)
            raise CheckpointError(f"{path}: tensors is {name!r}; accepted: {names}")
        return named[0]
    if len(readings) == 1:
        return readings[0]
    found = {id(reading): _faults(path, reading, stated) for reading in readings}
    whole = [reading for reading in readings if not found[id(reading)]]
    if drop_averages and len(whole) > 1:
        whole = [reading for reading in whole if not _AVERAGE.search(reading.name)] or whole
    if len(whole) == 1:
        return whole[0]
    seen = "; ".join(
        f"{printable(reading.name)!r} ({len(reading.tensors)} tensors; {found[id(reading)] or 'whole'})"
        for reading in readings
    )
    raise CheckpointError(
        f"{path}: it has {len(readings)} sets of tensors, of which {len(whole) or 'none'} are a whole LSeg: {seen}"
        + ("; the export's --tensors names the one to take" if whole else "")
    )


def _faults(path: Path, reading: Reading, stated: Architecture | None) -> str:
    """Why a reading is no whole LSeg; empty if it is one."""
    checkpoint = _checkpoint(path, reading, stated)
    try:
        return "; ".join(faults(needed_tensors(checkpoint), checkpoint.tensors))
    except CheckpointError as error:
        return str(error).removeprefix(f"{path}: ")
