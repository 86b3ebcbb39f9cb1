"""References between the values of a configuration (``${data.root}``), kept in files and resolved.

A configuration that is written down keeps its references, so that a later override takes effect
wherever the value is used. Plain dicts only. Of OmegaConf's grammar two forms are kept, ``${key}``
and ``${oc.select:key,default}``, with absolute keys; whatever else a value was made of (the
environment, the time) is written down as what it was. Both forms read the configuration and nothing
else, which makes them safe in a file of a stranger; its size is bounded here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError

MOST_VALUES = 1_000_000  # values, and letters, that a resolved configuration may have
DEEPEST = 64  # references behind references
_REFERENCE = re.compile(
    r"\$\{\s*(?P<select>oc\.select:\s*)?(?P<key>[A-Za-z_][\w/-]*(?:\.[\w/-]+)*)\s*"
    r"(?:,(?P<default>[^${}]*))?\}"
)
_ABSENT = object()


def keep(raw: object, resolved: object) -> object:
    """Return a configuration with the references of ``raw`` where they can be kept.

    Args:
        raw: as composed. resolved: the same with every value resolved.
    """
    if isinstance(raw, Mapping) and isinstance(resolved, Mapping):
        return {
            key: keep(raw[key], resolved[key]) if key in raw else resolved[key] for key in resolved
        }
    if isinstance(raw, list) and isinstance(resolved, list) and len(raw) == len(resolved):
        return [keep(one, value) for one, value in zip(raw, resolved, strict=True)]
    return raw if isinstance(raw, str) and is_reference(raw) else resolved


def is_reference(value: str) -> bool:
    """Return whether a text holds references, and only such as are kept."""
    rest, count = _REFERENCE.subn("", value)
    selects = all(m["select"] or m["default"] is None for m in _REFERENCE.finditer(value))
    return count > 0 and "${" not in rest and selects


def references(node: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the text of every value that holds a reference."""
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from references(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and "${" in node:
        yield key, node


def restore(resolved: Mapping[str, object], known: Mapping[str, set[str]]) -> MutableConfig:
    """Return a resolved configuration with references where they explain its values.

    What older files hold was resolved before it was written. ``known`` are the references that
    stand in the YAML files, by the key where they stand: one of them is restored where it gives the
    value that is there.
    """
    restored: MutableConfig = {key: _copied(value) for key, value in resolved.items()}
    for key, texts in known.items():
        *path, name = key.split(".")
        parent = _select(restored, path)
        if not isinstance(parent, dict) or name not in parent:
            continue
        for text in sorted(texts):
            if is_reference(text) and _value_or_absent(resolved, text) == parent[name]:
                parent[name] = text
                break
    return restored


def _copied(node: object) -> object:
    if isinstance(node, Mapping):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _value_or_absent(config: Mapping[str, object], text: str) -> object:
    """Return what a reference gives; a default explains nothing."""
    keys = [match["key"].split(".") for match in _REFERENCE.finditer(text)]
    if any(_select(config, key) is _ABSENT for key in keys):
        return _ABSENT
    try:
        return _Resolver(config).value(text, "", 0)
    except UserError:
        return _ABSENT


def resolve_references(config: Mapping[str, object], where: str) -> MutableConfig:
    """Return a configuration with its references resolved; ``where`` it comes from is for messages.

    Raises:
        UserError: for a reference to what is not there, in a circle, or of a form that is not kept,
            and for more values than a configuration can need.
    """
    try:
        return cast("MutableConfig", _Resolver(config).value(config, "", 0))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


class _Resolver:
    def __init__(self, config: Mapping[str, object]) -> None:
        self.config = config
        self.left = MOST_VALUES

    def value(self, node: object, key: str, depth: int) -> object:
        """Return a node with every reference below it resolved."""
        self._spend(len(node) if isinstance(node, str) else 1)
        if depth > DEEPEST:
            raise UserError(f"{key} refers to itself, or to a long row of other values.")
        if isinstance(node, Mapping):
            return {k: self.value(v, f"{key}.{k}" if key else k, depth) for k, v in node.items()}
        if isinstance(node, list):
            return [self.value(v, f"{key}[{i}]", depth) for i, v in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return node
        if not is_reference(node):
            raise UserError(f"{key}={node!r}: a file may refer to values of its own, nothing else.")
        whole = _REFERENCE.fullmatch(node)
        if whole:
            return self._target(whole, key, depth)
        return _REFERENCE.sub(lambda match: str(self._target(match, key, depth)), node)

    def _target(self, match: re.Match[str], key: str, depth: int) -> object:
        target = _select(self.config, match["key"].split("."))
        if target is _ABSENT or target == "???":
            if match["select"]:
                return None if match["default"] is None else _scalar(match["default"].strip())
            raise UserError(f"{key} refers to {match['key']}, which is not there.")
        value = self.value(target, match["key"], depth + 1)
        self._spend(len(value) if isinstance(value, str) else 1)
        return value

    def _spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise UserError("the configuration is larger than one can be.")


def _select(config: object, path: list[str]) -> object:
    node = config
    for name in path:
        if not isinstance(node, Mapping) or name not in node:
            return _ABSENT
        node = node[name]
    return node


def _scalar(text: str) -> object:
    """Return a default as OmegaConf reads it: a number, true, false, null, or a text."""
    known = {"true": True, "false": False, "null": None}
    if text.lower() in known:
        return known[text.lower()]
    if text[:1] in "\"'" and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
