"""The nodes of a configuration that name a class, and the classes that they name."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from captionlab.core.errors import UserError, did_you_mean


def targets(node: object, key: str = "") -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield every node below a configuration that has a ``_target_``, with its key, outer ones first."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, node
        for name, child in node.items():
            yield from targets(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from targets(child, f"{key}[{index}]")


def locate(target: str) -> Any:
    """Return the class or function of a dotted name.

    Raises:
        UserError: if there is none, with the nearest name in the module that exists.
    """
    try:
        return pkgutil.resolve_name(target)
    except SyntaxError as error:  # of a file that its user writes
        raise UserError(
            f"{target} cannot be imported: {error.filename}, line {error.lineno}: {error.msg}"
        ) from error
    except (ImportError, AttributeError, ValueError) as error:
        module, _, name = target.rpartition(".")
        top = target.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            raise UserError(f"{target}: {_no_module(top)}") from error
        try:
            owner = pkgutil.resolve_name(module)
        except (ImportError, AttributeError, ValueError):
            raise UserError(f"{target} cannot be imported ({error})") from error
        public = getattr(owner, "__all__", None) or [
            n
            for n, v in vars(owner).items()
            if not n.startswith("_") and getattr(v, "__module__", module) == module
        ]
        raise UserError(f"{module} has no {name!r}; {did_you_mean(name, public)}") from error


def _no_module(name: str) -> str:
    known = {module.name for module in pkgutil.iter_modules() if module.name[0] != "_"}
    hint = did_you_mean(name, known)
    way = f"go to the folder that holds {name}, or put that on PYTHONPATH"
    near = hint if hint.startswith("did you mean") else way
    return f"there is no module {name!r} on Python's path; {near}"
