"""Compose a configuration from conf/."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from captionlab.config.explain import explain
from captionlab.config.folder import compose_by_hydra, config_dir, groups
from captionlab.core.errors import UserError, first_line

__all__ = ["compose", "config_dir", "groups"]


def compose(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Return the configuration that the command line ``python train.py OVERRIDES`` would get.

    Raises:
        UserError: for a wrong group choice, a mistyped key or an unreadable override.
    """
    try:
        return compose_by_hydra(overrides, config_name)
    except Exception as error:
        # nothing but Hydra's own code runs here, on what was typed
        sentence = explain(error, overrides) or f"{' '.join(overrides)}: {first_line(error)}"
        raise UserError(sentence) from error
