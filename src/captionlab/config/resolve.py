"""A composed configuration as plain values: every interpolation resolved, or kept where it can be."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captionlab.config.references import keep
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError, first_line
from captionlab.core.targets import locate


def resolve(config: DictConfig) -> MutableConfig:
    """Return the configuration as plain dicts, lists and scalars, every interpolation resolved.

    Raises:
        UserError: if a value is missing (``???``) or refers to something that is not there.
    """
    missing = sorted(_missing_keys(OmegaConf.to_container(config, resolve=False)))
    if missing:
        raise UserError(" ".join(_missing(key, config) for key in missing))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            f"The configuration refers to something missing: {first_line(error)}"
        ) from error
    return typing.cast("MutableConfig", plain)


def with_references(config: DictConfig, resolved: Mapping[str, object]) -> MutableConfig:
    """Return a resolved configuration as it is written down: with its references, where possible."""
    kept = keep(OmegaConf.to_container(config, resolve=False), resolved)
    return typing.cast("MutableConfig", kept)


def _missing_keys(node: object, key: str = "") -> Iterator[str]:
    # OmegaConf.missing_keys() fails where an interpolation points at a missing value
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _missing_keys(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and node == "???":
        yield key


def _missing(key: str, config: DictConfig) -> str:
    note = ""
    target = OmegaConf.select(config, "data.source._target_")
    if key == "data.root" and target:
        layout = inspect.getattr_static(locate(target), "LAYOUT", "")
        note = f" (expected there: {layout})" if layout else ""
    return f"{key} has no value: give one with {key}=...{note}."
