"""requirements.lock: each version that it names for a Python runs on that Python."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import PROJECT


def _pins() -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (PROJECT / "requirements.lock").read_text().splitlines())
    return [Requirement(line) for line in lines if line]


@pytest.mark.parametrize("python", ["3.10.0", "3.11.0", "3.12.0", "3.13.0"])
def test_what_is_named_for_a_python_runs_on_it(python: str) -> None:
    """Debian 12 has Python 3.11.2, which a package may have left behind that still runs on later ones of 3.11.

    What an installed package says of itself is read; versions for other Pythons are not installed here.
    """
    environment = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
    wrong, read = [], 0
    for pin in _pins():
        if pin.marker is not None and not pin.marker.evaluate(environment):
            continue
        try:
            found = metadata(pin.name)
        except PackageNotFoundError:
            continue
        if found["Version"] in pin.specifier and found["Requires-Python"]:
            read += 1
            if python not in SpecifierSet(found["Requires-Python"]):
                wrong.append(f"{pin.name} {found['Version']} needs Python {found['Requires-Python']}")
    assert read > 50
    assert not wrong
