"""What can be chosen: the YAML files of each group, and what each says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from captionlab.config.folder import choices, find, groups
from captionlab.config.search_path import added
from captionlab.core.errors import UserError, did_you_mean


class Presets(Mapping[str, Mapping[str, str]]):
    """The choices of each group, with one line on each: ``presets["model"]["attn_lstm"]``.

    Groups are named with slashes: ``presets["model/encoder"]``. An unknown one raises UserError.

    Args:
        config_dirs: folders of YAML files whose choices are there too, as of ``--config-dir``.
    """

    def __init__(self, *config_dirs: str | os.PathLike[str]) -> None:
        self.config_dirs: Sequence[str | os.PathLike[str]] = config_dirs

    def __getitem__(self, group: str) -> Mapping[str, str]:
        with self._search():
            if group not in groups():
                raise UserError(
                    f"presets[{group!r}]: there is no such group; {did_you_mean(group, groups())}"
                )
            return {name: _described(group, name) for name in choices(group)}

    def __contains__(self, group: object) -> bool:
        with self._search():
            return group in groups()

    def __iter__(self) -> Iterator[str]:
        with self._search():
            return iter(sorted(groups()))

    def __len__(self) -> int:
        with self._search():
            return len(groups())

    def __repr__(self) -> str:
        return f"Presets({', '.join(self)})"

    def _search(self) -> AbstractContextManager[None]:
        return added(self.config_dirs)


def _described(group: str, choice: str) -> str:
    path = find(group, choice)
    return "" if path is None else description(path)


def description(path: Path) -> str:
    """Return the first line of what a YAML file says of itself in its opening comment."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#"):
            break
        if text and not text.startswith("@package"):
            return text
    return ""


presets = Presets()
