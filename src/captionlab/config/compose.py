"""Compose a configuration from conf/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf, open_dict

from captionlab.config.explain import explain
from captionlab.config.folder import compose_by_hydra, config_dir, groups
from captionlab.core.errors import UserError, first_line

__all__ = ["ComposedRun", "compose", "compose_run", "config_dir", "groups"]


def compose(overrides: Sequence[str] = (), config_name: str = "train") -> DictConfig:
    """Return the configuration that the command line ``python train.py OVERRIDES`` would get.

    Raises:
        UserError: for a wrong group choice, a mistyped key or an unreadable override.
    """
    with _explained(overrides):
        return compose_by_hydra(overrides, config_name)


@dataclass(frozen=True)
class ComposedRun:
    """The configuration of a run, ``output_dir`` in it, and what was chosen of each group."""

    config: DictConfig
    choices: dict[str, str | None]


def compose_run(overrides: Sequence[str] = ()) -> ComposedRun:
    """Return the configuration of a run that no command line starts, with the folder it would have.

    Raises:
        UserError: as ``compose``.
    """
    with _explained(overrides):
        config = compose_by_hydra(overrides, with_hydra=True)
        folder = str(config.hydra.run.dir)
    choices = {str(k): v for k, v in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    if "${hydra:" in str(raw["output_dir"]):
        config.output_dir = folder
    return ComposedRun(config, choices)


@contextmanager
def _explained(overrides: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # nothing but Hydra's own code runs here, on what was typed
        sentence = explain(error, overrides) or f"{' '.join(overrides)}: {first_line(error)}"
        raise UserError(sentence) from error
