"""A job of a sweep: what it tries, and what its folder tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionlab.config.override_syntax import WEIGHTS_OVERRIDES, override_text
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError
from captionlab.core.files import read_json
from captionlab.runs.run_files import read_yaml

SCORE_FILE = "score.json"
JOB_NODE = "job"  # of the configuration: what a sweep tells its jobs


@dataclass(frozen=True)
class Job:
    """One point of a sweep."""

    number: int
    overrides: list[str]
    folder: Path
    num_devices: int  # GPUs that its trainer asks for
    title: str  # what distinguishes it from the other jobs

    @property
    def log(self) -> Path:
        """Where its output goes: beside its folder, which a job that is refused leaves empty."""
        return self.folder.parent / f"{self.folder.name}.log"

    @property
    def score_file(self) -> Path:
        """Where the run leaves what it returns."""
        return self.folder / SCORE_FILE

    def settings(self) -> dict[str, str]:
        """Return the ``job`` node of the run's configuration."""
        return job_settings(self.folder, self.title)


def job_settings(folder: Path, title: str) -> dict[str, str]:
    """Return the ``job`` node of a configuration: the job's title, its sweep, its score file."""
    return {
        # the title is a text: a reference in it must not be resolved
        "title": title.replace("${", "{"),
        "sweep": folder.parent.name,
        "score_file": str(folder / SCORE_FILE),
    }


def job_overrides(settings: dict[str, str]) -> list[str]:
    """Return the overrides that set the ``job`` node."""
    return [override_text(f"{JOB_NODE}.{name}", value) for name, value in settings.items()]


def without_job_settings(overrides: Iterable[str]) -> list[str]:
    """Return the overrides of a run without those of the ``job`` node, which are no settings of it."""
    return [one for one in overrides if not one.lstrip("+").startswith(f"{JOB_NODE}.")]


def distinguishing_overrides(overrides: Sequence[str], common: set[str]) -> str:
    """Return a job's title: the overrides that not all jobs share."""
    return " ".join(o for o in overrides if o not in common) or " ".join(overrides)


def require_same(folder: Path, overrides: Sequence[str]) -> None:
    """Refuse to mix two sweeps in one folder.

    Raises:
        UserError: if the job's folder holds a run of other overrides.
    """
    path = folder / "overrides.yaml"
    if not path.exists():
        return
    stored = read_yaml(path)
    before = compared_overrides(stored if isinstance(stored, list) else [])
    now = compared_overrides(overrides)
    if before != now:
        raise UserError(
            f"{folder} holds a run of {' '.join(before) or 'no overrides'}, and this job is "
            f"{' '.join(now)}: choose another hydra.sweep.dir"
        )


def compared_overrides(overrides: Iterable[object]) -> list[str]:
    """Return what overrides try, sorted, wherever the weights come from and whoever started the run."""
    texts = without_job_settings(str(one) for one in overrides)
    return sorted(one for one in texts if not one.startswith(WEIGHTS_OVERRIDES))


@dataclass(frozen=True)
class FinishedJob:
    """What a finished job left; ``score`` is None where the run had none to return."""

    score: float | None


def read_finished(folder: Path) -> FinishedJob | None:
    """Return what a finished job left; None for one that is not finished.

    Raises:
        UserError: if a file of it cannot be read.
    """
    path = folder / SCORE_FILE
    if not path.exists():
        return None
    # with test=false there are no results to wait for
    if not (folder / "results.json").exists() and _config(folder).get("test", True):
        return None
    return FinishedJob(read_score(path))


def read_score(path: Path) -> float | None:
    """Return what a job left in its score file.

    Raises:
        UserError: if that is no score.
    """
    try:
        content: Any = read_json(path)
        score = content["score"]
        return None if score is None else float(score)
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{path} holds no score of a job: remove it to run the job again"
        ) from error


def last_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint that an interrupted job goes on from, if it left one."""
    last = folder / "checkpoints" / "last.ckpt"
    return last if last.exists() else None


def _config(folder: Path) -> MutableConfig:
    path = folder / "config.yaml"
    content = read_yaml(path) if path.exists() else {}
    return content if isinstance(content, dict) else {}
