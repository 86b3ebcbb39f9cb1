"""The folder of a sweep's job: what was tried there, and whether it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captionlab.core.errors import UserError
from captionlab.core.files import read_json
from captionlab.runs.run_files import read_yaml

SCORE_FILE = "score.json"
SCORE = "CAPTIONLAB_SCORE_FILE"  # where a job of a sweep leaves what it returns
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
    stored = read_yaml(path)
    before = settings(stored if isinstance(stored, list) else [])
    if before != settings(overrides):
        raise UserError(
            f"{folder} holds a run of {' '.join(before) or 'no overrides'}, and this job is "
            f"{' '.join(settings(overrides))}: choose another hydra.sweep.dir"
        )


def settings(overrides: Sequence[Any]) -> list[str]:
    """Return what overrides try, wherever the weights come from."""
    return sorted(str(one) for one in overrides if not str(one).startswith(ELSEWHERE))


def finished(folder: Path) -> dict[str, float | None] | None:
    """Return what a finished job left, its ``score``; None for one that is not finished.

    Raises:
        UserError: if a file of it cannot be read.
    """
    path = folder / SCORE_FILE
    if not path.exists():
        return None
    # with test=false there are no results to wait for
    if not (folder / "results.json").exists() and _settings(folder / "config.yaml").get(
        "test", True
    ):
        return None
    return {"score": read_score(path)}


def read_score(path: Path) -> float | None:
    """Return what a job left in its score file.

    Raises:
        UserError: if that is no score.
    """
    try:
        content = read_json(path)
        score = content["score"]
        return None if score is None else float(score)
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{path} holds no score of a job: remove it to run the job again"
        ) from error


def _settings(path: Path) -> dict[str, Any]:
    content = read_yaml(path) if path.exists() else {}
    return content if isinstance(content, dict) else {}


def interrupted(folder: Path) -> Path | None:
    """Return the checkpoint that a job goes on from, if it left one."""
    last = folder / "checkpoints" / "last.ckpt"
    return last if last.exists() else None
