"""The nodes of a configuration that name a class, and the classes that they name."""

from __future__ import annotations

import functools
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


@functools.cache
def locate(target: str) -> Any:
    """Return the class or function of a dotted name.

    Raises:
        UserError: if there is none, with the nearest name in the module that exists.
    """
    try:
        return pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        module, _, name = target.rpartition(".")
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
