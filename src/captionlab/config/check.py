"""Check that what a configuration names exists and takes the values it is given.

Every ``_target_`` is located, its arguments are bound to the signature and their types compared, and
all mistakes are reported at once, each with its key and the nearest name that would work. Plain
dicts only: this module knows neither Hydra nor OmegaConf.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from captionlab.core.addresses import require_local_values
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.targets import locate, targets

# Values that enter at build time by keyword because another part owns them; they stand in no YAML.
RUNTIME_ARGUMENTS: dict[str, set[str]] = {
    "model.attention": {"query_dim", "memory_dim"},
    "model.connector": {"memory_dim", "pooled_dim"},
    "model.decoder": {"vocabulary_size", "pad_id", "memory_dim", "pooled_dim", "attention"},
    "model.retrieval": {"pooled_dim", "vocabulary_size", "separator_id"},
    "model.tags": {"words", "memory_dim", "pooled_dim"},
    "data.tokenizer": {"captions"},
    "objective.discriminator": {"vocabulary_size", "memory_dim"},
    "optimizer": {"params"},
}
# Keys of a group that other keys refer to, and that are no arguments of the group's class.
LABELS: dict[str, set[str]] = {
    "model": {
        *("name", "paper", "published"),
        *("encoder", "connector", "decoder", "attention", "tags", "retrieval"),
    },
    "model.decoder": {"embeddings", "word_dim"},
    "data": {"root", "language"},
}


def check(config: Mapping[str, object]) -> None:
    """Check every ``_target_`` of a resolved configuration before anything is built.

    What a file names goes through ``registry.require_allowed`` first: this imports it.

    Args:
        config: plain dicts, as ``resolve`` returns them.

    Raises:
        UserError: with all mistakes, one a line; before them, for an address in place of a path.
    """
    require_local_values(config)
    mistakes = [m for key, node in targets(config) for m in _check_target(key, node)]
    if mistakes:
        raise UserError("\n".join(dict.fromkeys(mistakes)))


def _check_target(key: str, node: Mapping[str, object]) -> Iterator[str]:
    target = node["_target_"]
    if not isinstance(target, str):
        yield f"{key}._target_={target!r} is not the dotted name of a class."
        return
    try:
        call = locate(target)
    except UserError as error:
        yield f"{key}._target_: {error}"
        return
    yield from _check_arguments(key, node, call)


def _check_arguments(
    key: str, node: Mapping[str, object], call: Callable[..., object]
) -> Iterator[str]:
    parameters = inspect.signature(call).parameters
    given = {
        name: value
        for name, value in node.items()
        if not (name.startswith("_") and name.endswith("_")) and name not in LABELS.get(key, ())
    }
    runtime = RUNTIME_ARGUMENTS.get(key, set())
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    hints = _hints(call)
    for name, value in given.items():
        if name in runtime:
            yield f"{key}.{name} follows from other parts and cannot be set."
        elif name not in named:
            if not open_ended:
                hint = did_you_mean(name, set(named) - runtime)
                yield f"{key}.{name}={value!r}: {call.__qualname__} has no such option; {hint}"
        elif not _fits(value, hints.get(name, Any)):
            yield f"{key}.{name}={value!r} is not {describe_type(hints[name])}."
    if not node.get("_partial_") and key not in LABELS:
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in given and name not in runtime:
                yield f"{key}.{name} has no value, and {call.__qualname__} needs one."


def _hints(call: Callable[..., object]) -> dict[str, object]:
    function = call.__init__ if inspect.isclass(call) else call
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return {}


def _fits(value: object, hint: object) -> bool:
    """Return whether a plain value can stand where the annotation says; unknown annotations accept all."""
    origin = typing.get_origin(hint)
    if hint is Any or (isinstance(value, Mapping) and "_target_" in value):
        return True
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        # beside a plain type (lr: float | Tensor) a plain value can only mean that one
        plain = [option for option in options if _is_plain(option)]
        return any(_fits(value, option) for option in plain or options)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if origin is dict:
        return isinstance(value, Mapping)
    if origin in (list, tuple, Sequence):
        items = [a for a in typing.get_args(hint) if a is not Ellipsis]
        return isinstance(value, list | tuple) and (
            len(items) != 1 or all(_fits(item, items[0]) for item in value)
        )
    # a class that a plain value cannot be (a module, a path): the constructor judges
    return not (inspect.isclass(hint) and value is None and hint is not object)


def _is_plain(hint: object) -> bool:
    plain = (int, float, bool, str, type(None), list, tuple, dict, Sequence, typing.Literal)
    return (typing.get_origin(hint) or hint) in plain


def describe_type(hint: object) -> str:
    """Return an annotation in words for a message."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        shown = [option for option in options if _is_plain(option)] or options
        return " or ".join(dict.fromkeys(describe_type(option) for option in shown))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    words: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
    }
    if hint is type(None):
        return "null"
    if origin in (list, tuple, Sequence):
        items = {item for item in typing.get_args(hint) if item is not Ellipsis}
        of = {int: " of whole numbers", float: " of numbers", str: " of texts"}
        return "a list" + (of.get(items.pop(), "") if len(items) == 1 else "")
    return words.get(hint, getattr(hint, "__name__", str(hint)))
