"""Where YAML files are found: captionlab's own folder, and the folders of projects beside it.

A folder is added by ``--config-dir FOLDER``, by ``hydra.searchpath=[FOLDER,...]``, or from Python by
``added``. It holds groups as ``conf/`` does (``FOLDER/model/encoder/mine.yaml``). What stands beside it
can be imported, so that its ``_target_`` may name a class of a module there. A file that has the name
of one of captionlab's own is refused: Hydra takes the first of two in silence, and a run's
``model/encoder=resnet50`` would mean one thing here and another there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError, did_you_mean

OPTIONS = ("--config-dir", "-cd")
KEY = "hydra.searchpath"
DEEPEST = 4  # folders within folders that are looked at: no group is deeper, a home folder is
# of this process, as sys.path is: the threads that start a sweep's jobs must see it too
_added: list[Path] = []


def config_dir() -> Path:
    """Return captionlab's own folder: inside an installed wheel, or beside ``src`` in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "conf", package.parent.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"No conf/train.yaml inside {package} or beside its source folder.")


def added_dirs() -> tuple[Path, ...]:
    """Return the folders that were added, absolute, in the order of the search."""
    return tuple(_added)


def config_dirs() -> tuple[Path, ...]:
    """Return all folders in the order of the search, captionlab's own first."""
    return (config_dir(), *_added)


@contextmanager
def added(folders: Sequence[str | os.PathLike[str]]) -> Iterator[None]:
    """Let a block find the YAML files of these folders, and import the modules beside them.

    Raises:
        UserError: if one is no folder of YAML files, or holds a file of a name that is taken.
    """
    new: list[Path] = []
    for folder in folders:
        place = Path(os.path.abspath(require_config_dir(os.fspath(folder))))
        if place not in (*_added, *new):
            require_new_names(place, (*config_dirs(), *new))
            new.append(place)
    _added.extend(new)
    try:
        with importable(*(project_root(folder) for folder in new)):
            yield
    finally:
        del _added[len(_added) - len(new) :]


@contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Let a block import the modules of these folders, after all others: none is hidden by them."""
    new = [name for name in dict.fromkeys(map(str, folders)) if name not in sys.path]
    sys.path.extend(new)
    try:
        yield
    finally:
        for name in new:
            if name in sys.path:
                sys.path.remove(name)


def project_root(folder: Path) -> Path:
    """Return the folder whose modules belong to a folder of YAML files: above it, and above its package."""
    root = folder.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return root


def require_config_dir(name: str) -> str:
    """Return a folder of YAML files as it was named.

    Raises:
        UserError: if it is none, with the nearest one that is.
    """
    require_local(name, "--config-dir ")
    folder = Path(name)
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else Path()
        near = [str(one) for one in parent.iterdir() if one.is_dir()]
        what = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"--config-dir {name}: {name} {what}; {did_you_mean(name, near)}")
    if not (_holds_groups(folder) or any(folder.glob("*.yaml"))):
        inner = next((one for one in sorted(folder.iterdir()) if _holds_groups(one)), None)
        hint = (
            f"did you mean --config-dir {inner}?"
            if inner is not None
            else f"a choice of your own is a file such as {folder / 'model/encoder/mine.yaml'}"
        )
        raise UserError(
            f"--config-dir {name}: {name} holds no group ({', '.join(_top_groups())}); {hint}"
        )
    return name


def _holds_groups(folder: Path) -> bool:
    """Return whether there are YAML files in a folder of a group's name."""
    places = (folder / name for name in _top_groups())
    return any(place.is_dir() and _yaml_files(place) for place in places)


def _top_groups() -> list[str]:
    own = {one.name for one in config_dir().iterdir() if one.is_dir() and one.name[0] not in "._"}
    return sorted(own | {"hydra"})


def require_new_names(folder: Path, others: Sequence[Path]) -> None:
    """Refuse a folder with a file that another one has too: one of the two would be ignored.

    Raises:
        UserError: naming both files.
    """
    for name in yaml_files(folder):
        owner = next((other for other in others if (other / name).is_file()), None)
        if owner is None:
            continue
        whose = f"captionlab's own {name}" if owner == config_dir() else str(owner / name)
        raise UserError(
            f"{folder / name} has the name of {whose}, which comes first, so that it would never be "
            f"read: rename it, to my_{name.name} for example"
        )


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files of a folder and of its groups, relative to it."""
    return sorted(path.relative_to(folder) for path in _yaml_files(folder))


def _yaml_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        deep = len(Path(place).relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else [name for name in folders if name[0] not in "._"]
        found += [Path(place, name) for name in files if name.endswith(".yaml")]
    return found


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the folders that a command line adds, and its other arguments.

    Raises:
        UserError: for an option that is given twice, and a search path that is no list of folders.
    """
    folders: list[str] = []
    searched: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for one in remaining:
        name, sign, value = one.partition("=")
        if name in OPTIONS:
            chosen = value if sign else next(remaining, None)
            if chosen is None:  # what reads the options says so
                rest.append(one)
                continue
            if folders:
                raise UserError(
                    f"{one} is given beside {OPTIONS[0]} {folders[0]}: for several folders say "
                    f"'{KEY}=[{folders[0]},{chosen}]'"
                )
            folders.append(chosen)
        elif name.lstrip("+") == KEY and sign:
            searched = _searched(one)
        else:
            rest.append(one)
    return folders + searched, rest


def as_arguments() -> list[str]:
    """Return the arguments by which another process finds the folders that were added."""
    first, *more = map(str, _added) if _added else ("",)
    option = [OPTIONS[0], first] if first else []  # by which --help lists the choices too
    return [*option, searchpath_override(more)] if more else option


def searchpath_override(folders: Sequence[str]) -> str:
    """Return the override that adds folders for Hydra."""
    from captionlab.config.override_syntax import override_text  # it imports Hydra

    texts = [override_text("key", folder).removeprefix("key=") for folder in folders]
    return f"{KEY}=[{','.join(texts)}]"


def _searched(text: str) -> list[str]:
    from captionlab.config.override_syntax import parse_override  # it imports Hydra

    value = parse_override(text.lstrip("+")).value()
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UserError(f"{text}: a list of folders belongs there: '{KEY}=[FOLDER]'")
    return [_local_folder(one) for one in value]


def _local_folder(address: str) -> str:
    """Return the folder of an address as Hydra writes them: a path, file://PATH, pkg://MODULE."""
    scheme, sign, rest = address.partition("://")
    if not sign:
        return address
    if scheme == "file":
        return rest
    if scheme == "pkg":
        try:
            spec = importlib.util.find_spec(rest.replace("/", "."))
        except ImportError:
            spec = None
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        if places:
            return places[0]
        raise UserError(f"{KEY}: {address}: there is no package {rest} on Python's path")
    raise UserError(f"{KEY}: {address}: say FOLDER, file://FOLDER or pkg://PACKAGE")
