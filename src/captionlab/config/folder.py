"""The folders of YAML files: their groups, the choices of each, and Hydra's composition of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from captionlab.config.override_syntax import as_readable_arguments
from captionlab.config.search_path import (
    added_dirs,
    config_dir,
    config_dirs,
    searchpath_override,
    yaml_files,
)

__all__ = ["choices", "compose_by_hydra", "config_dir", "config_dirs", "find", "groups"]


def groups() -> frozenset[str]:
    """Return the names of all groups: the folders of YAML files, with slashes."""
    return _own_groups().union(*map(_groups_of, added_dirs()))


@functools.cache
def _own_groups() -> frozenset[str]:
    return _groups_of(config_dir())


def _groups_of(folder: Path) -> frozenset[str]:
    return frozenset(path.parent.as_posix() for path in yaml_files(folder)) - {"."}


def choices(group: str) -> list[str]:
    """Return the names of the YAML files of a group, which is named with slashes; bases are left out."""
    names = (path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml"))
    return sorted(name for name in names if not is_base(name))


def is_base(name: str) -> bool:
    """Return whether a YAML file is what others have in common, and nothing to choose by itself."""
    return name == "base" or name.startswith("base_")


def list_choices() -> str:
    """Return a line for each group with its choices, as ``--help`` shows them."""
    return "\n".join(f"{group}: {', '.join(choices(group))}" for group in sorted(groups()))


# in place of Hydra's own list, which offers the bases too
OmegaConf.register_new_resolver("captionlab.choices", list_choices, replace=True)


def find(group: str, choice: str) -> Path | None:
    """Return the YAML file of a choice; None where there is none."""
    paths = (folder / group / f"{choice}.yaml" for folder in config_dirs())
    return next((path for path in paths if path.is_file()), None)


def compose_by_hydra(
    overrides: Sequence[str] = (), config_name: str = "train", *, with_hydra: bool = False
) -> DictConfig:
    """Return the configuration of a command line; what Hydra and OmegaConf raise is theirs.

    ``with_hydra``: its node ``hydra`` too, which knows the choices and the folder of a run.
    """
    # whoever has started Hydra in this process finds it as it was
    state = GlobalHydra.instance()
    before, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            readable = as_readable_arguments(overrides, groups())
            if added_dirs():
                readable.append(searchpath_override([str(one) for one in added_dirs()]))
            return hydra_compose(config_name, readable, return_hydra_config=with_hydra)
    finally:
        state.hydra = before
