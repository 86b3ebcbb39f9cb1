"""Command-line overrides applied to a configuration that a checkpoint stored."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from captionlab.config.compose import compose, config_dir
from captionlab.config.explain import nearest_keys
from captionlab.config.override_syntax import parse_override
from captionlab.config.references import references
from captionlab.config.resolve import resolve
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError, did_you_mean


def override(
    stored: Mapping[str, object],
    overrides: Sequence[str],
    groups: Sequence[str],
    settings: Sequence[str] = (),
) -> MutableConfig:
    """Return a stored configuration with command-line overrides applied, resolved.

    Args:
        stored: the configuration of a checkpoint; what it holds references to follows an override.
        overrides: ``data=flickr8k``, ``data.root=...``, ``decoding=beam``, ``decoding.beam_size=5``.
        groups: the groups that may be replaced, or changed inside. settings: other keys that may
            be set.

    Raises:
        UserError: for a key that is not there, a group that cannot be replaced, an unreadable override.
    """
    config = OmegaConf.create(dict(stored))
    chosen, values = _split_overrides(overrides, groups, settings)
    if chosen:
        composed = compose([f"{group}={choice}" for group, choice in chosen.items()])
        # outer groups first: data=flickr8k data/augment=standard
        for group in sorted(chosen, key=lambda name: name.count("/")):
            key = group.replace("/", ".")
            OmegaConf.update(config, key, OmegaConf.select(composed, key), merge=False)
    OmegaConf.set_struct(config, True)
    for key, (value, is_new) in values.items():
        try:
            with open_dict(config) if is_new else nullcontext():
                OmegaConf.update(config, key, value, merge=False)
        except OmegaConfBaseException as error:
            raise UserError(_explain_stored_key(key, config)) from error
    return resolve(config)


def _explain_stored_key(key: str, config: DictConfig) -> str:
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    known = list(parent if isinstance(parent, DictConfig) else config)
    return f"{key}: there is no such key here{nearest_keys(key, config, map(str, known))}"


@functools.cache
def known_references() -> dict[str, set[str]]:
    """Return the references between values of the data in conf/, by the key where they stand."""
    by_key: dict[str, set[str]] = {}
    for path in (config_dir() / "data").rglob("*.yaml"):
        place = ".".join(path.relative_to(config_dir()).parent.parts)
        for key, text in references(OmegaConf.to_container(OmegaConf.load(path)), place):
            by_key.setdefault(key, set()).add(text)
    return by_key


def _split_overrides(
    overrides: Sequence[str], groups: Sequence[str], settings: Sequence[str]
) -> tuple[dict[str, str], dict[str, tuple[object, bool]]]:
    parsed = [parse_override(text) for text in overrides]
    chosen: dict[str, str] = {}
    values: dict[str, tuple[object, bool]] = {}
    for item in parsed:
        key = item.key_or_group
        top = key.replace("/", ".").split(".")[0]
        if top not in (*groups, *settings):
            raise UserError(f"{key} cannot be set here; {did_you_mean(top, (*groups, *settings))}")
        if key in groups or "/" in key:
            chosen[key] = str(item.value())
        else:
            values[key] = item.value(), item.is_add() or item.is_force_add()
    return chosen, values
