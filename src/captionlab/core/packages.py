"""Packages of the Python index that carry data: found where they are installed, never run."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def files_of_package(name: str, pattern: str) -> list[Path] | None:
    """Return the files of an installed package that match a pattern; None where it is not installed.

    ``name`` is that of the index, with hyphens. The package is looked up and not imported.
    """
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    places = [Path(place) for place in spec.submodule_search_locations]
    return sorted(path for place in places for path in place.rglob(pattern))
