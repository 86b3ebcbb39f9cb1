"""The folder of a sweep's job: what was tried there, and whether it is finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from captionlab.errors import UserError

SCORE_FILE = "score.json"
# overrides that say where weights come from, not what is tried
ELSEWHERE = ("ckpt=", "init_from=")


def require_same(folder: Path, overrides: Sequence[str]) -> None:
    """Refuse to mix two sweeps in one folder.

    Raises:
        UserError: if the job's folder holds a run of other overrides.
    """
    path = folder / "overrides.yaml"
    if not path.exists():
        return
    before = settings(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    if before != settings(overrides):
        raise UserError(
            f"{folder} holds a run of {' '.join(before) or 'no overrides'}, and this job is "
            f"{' '.join(settings(overrides))}: choose another hydra.sweep.dir"
        )


def settings(overrides: Sequence[Any]) -> list[str]:
    """Return what overrides try, wherever the weights come from."""
    return sorted(str(one) for one in overrides if not str(one).startswith(ELSEWHERE))


def finished(folder: Path) -> dict[str, Any] | None:
    """Return what a finished job left, its ``score``; None for one that is not finished."""
    path, config = folder / SCORE_FILE, folder / "config.yaml"
    # with test=false there are no results to wait for
    untested = config.exists() and OmegaConf.select(OmegaConf.load(config), "test") is False
    if not path.exists() or not (untested or (folder / "results.json").exists()):
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def interrupted(folder: Path) -> Path | None:
    """Return the checkpoint that a job goes on from, if it left one."""
    last = folder / "checkpoints" / "last.ckpt"
    return last if last.exists() else None
