"""The folder of YAML files: its groups, the choices of each, and Hydra's composition of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from captionlab.config.override_syntax import as_readable_arguments


def config_dir() -> Path:
    """Return the folder of the YAML files: inside an installed wheel, or beside ``src`` in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "conf", package.parent.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"No conf/train.yaml inside {package} or beside its source folder.")


@functools.cache
def groups() -> frozenset[str]:
    """Return the names of all groups: the folders of YAML files, with slashes."""
    folders = {path.parent.relative_to(config_dir()) for path in config_dir().rglob("*.yaml")}
    return frozenset(folder.as_posix() for folder in folders) - {"."}


def choices(group: str) -> list[str]:
    """Return the names of the YAML files of a group, which is named with slashes; bases are left out."""
    names = (path.stem for path in (config_dir() / group).glob("*.yaml"))
    return sorted(name for name in names if not is_base(name))


def is_base(name: str) -> bool:
    """Return whether a YAML file is what others have in common, and nothing to choose by itself."""
    return name == "base" or name.startswith("base_")


def compose_by_hydra(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Return the configuration of a command line; what Hydra and OmegaConf raise is theirs."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra_compose(config_name, overrides=as_readable_arguments(overrides, groups()))
