"""Addresses (``https://...``, ``s3://...``) where a path of this machine is wanted: nothing is fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from captionlab.core.errors import UserError

# two letters at least, for C:/ is a drive; one slash is enough, for a Path keeps no more of them
# (timm's local-dir:/folder is a name of a model)
_ADDRESS = re.compile(r"(?!local-dir:)[A-Za-z][A-Za-z0-9+.-]+:/+\S")
# what is written about a model, and leads nowhere
_ABOUT = {"paper", "published"}


def is_address(text: object) -> bool:
    """Return whether a text is an address and no path of anything here."""
    return _ADDRESS.match(str(text)) is not None and not os.path.lexists(str(text))


def holds_address(path: Path) -> bool:
    """Return whether a path goes on with an address: ``photos/https:/...``, of a table's cell."""
    return any(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:", part) for part in path.parts)


def require_local(text: object, given: str = "", *, written: bool = False) -> None:
    """Check that a text is no address.

    Args:
        text: what stands where a path is wanted.
        given: where it stands: ``"data.root="``, ``"--out "``.
        written: something is to be written there.

    Raises:
        UserError: if it is one, with what to do instead.
    """
    if not is_address(text):
        return
    scheme = str(text).partition(":")[0].lower()
    if scheme == "file":
        way = "and paths are wanted: give what follows file://"
    elif written:
        way = "and nothing is sent there: name a place on this machine, and copy it from there"
    else:
        way = "and addresses are not fetched: download it first, and give its path"
    raise UserError(f"{given}{text} is an address, {way}")


def require_local_values(config: Mapping[str, object]) -> None:
    """Check that no value of a plain configuration, inside ``data`` or ``model``, is an address.

    Raises:
        UserError: for the outermost one.
    """
    texts = [one for group in ("data", "model") for one in _texts(config.get(group), group)]
    for key, value in sorted(texts, key=lambda one: one[0].count(".")):
        require_local(value, f"{key}=")


def _texts(node: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            if name not in _ABOUT:
                yield from _texts(child, f"{key}.{name}")
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _texts(child, f"{key}[{number}]")
    elif isinstance(node, str):
        yield key, node
