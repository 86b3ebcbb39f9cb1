"""Build the object that a checked node of a configuration describes, at once or in two steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from captionlab.core.errors import UserError, first_line
from captionlab.core.registry import LISTED
from captionlab.core.targets import locate

T_co = TypeVar("T_co", covariant=True)

_DIRECTIVES = ("_target_", "_partial_")
_OTHERS = {"_args_", "_convert_", "_recursive_"}  # what else Hydra reads in a node


def build_part(node: object, key: str = "", **runtime: object) -> Any:
    """Return the object that a checked node describes, plain containers inside.

    Args:
        node: a mapping with ``_target_``. key: where it stands, for the message.

    Raises:
        UserError: if the constructor refuses a value.
    """
    with refusals(key):
        if not runtime and _is_plain(node):
            return _built(node)
        # a quarter of a second, which a photo's caption need not wait for
        from hydra.errors import InstantiationException
        from hydra.utils import instantiate

        try:
            return instantiate(node, _convert_="all", **runtime)
        except InstantiationException as error:
            cause: BaseException = error
            while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
                cause = cause.__cause__
            raise cause from None


def _is_plain(node: object) -> bool:
    """Return whether a node holds values alone, and names only classes that any file may name."""
    if isinstance(node, Mapping):
        values = [value for name, value in node.items() if name not in _DIRECTIVES]
        is_listed = "_target_" not in node or node["_target_"] in LISTED
        is_simple = isinstance(node.get("_partial_", False), bool) and not node.keys() & _OTHERS
        return is_listed and is_simple and all(map(_is_plain, values))
    if isinstance(node, list):
        return all(map(_is_plain, node))
    if isinstance(node, str):
        return "${" not in node and node != "???"
    return node is None or isinstance(node, bool | int | float)


def _built(node: Any) -> Any:
    """Return what Hydra makes of a plain node."""
    if isinstance(node, list):
        return [_built(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    values = {name: _built(value) for name, value in node.items() if name not in _DIRECTIVES}
    if "_target_" not in node:
        return values
    target = locate(node["_target_"])
    return functools.partial(target, **values) if node.get("_partial_") else target(**values)


class Factory(Generic[T_co]):
    """Builds a part from a checked node and from values that other parts own, once they are known.

    ``target`` is the class that the node names.

    Raises:
        UserError: if the node names no class, or a part inside it refuses a value.
    """

    def __init__(self, node: Mapping[str, object], key: str) -> None:
        # a stranger's checkpoint may hold anything here
        target = node.get("_target_") if isinstance(node, Mapping) else None
        if not isinstance(target, str):
            raise UserError(f"{key}={node!r:.60} names no class: its _target_ belongs there")
        self.key = key
        self.target: Callable[..., T_co] = locate(target)
        self._make: Callable[..., T_co] = build_part({**node, "_partial_": True}, key)

    def __call__(self, **runtime: object) -> T_co:
        """Return the part; UserError if its constructor refuses a value."""
        with refusals(self.key):
            return self._make(**runtime)


@contextmanager
def refusals(key: str) -> Iterator[None]:
    """Give what a constructor says about a value the key under which the value stands."""
    try:
        yield
    except UserError as error:
        if not key or key in str(error):
            raise
        raise UserError(f"{key}: {error}") from error
    except (ValueError, RuntimeError) as error:
        # torch and Lightning answer impossible sizes and choices so; the values are the user's
        raise UserError(f"{key}: {first_line(error)}") from error
