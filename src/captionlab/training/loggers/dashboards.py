"""Loggers that need an extra: Weights & Biases, TensorBoard; and their table of captioned images."""

from __future__ import annotations

import importlib.util
import os
import socket
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from captionlab.core.errors import UserError, did_you_mean
from captionlab.evaluation.gallery import Example, attention_picture
from captionlab.training.loggers.table import flatten

# W&B's rules for the name of a project
LONGEST_PROJECT, NOT_IN_PROJECT = 128, "/\\#?%:"
MODES = ("online", "offline", "disabled")
# the client's variable, and what it was set to here
DATA_DIR, OWN_DATA_DIR = "WANDB_DATA_DIR", "CAPTIONLAB_WANDB_DATA_DIR"


class CaptionWandbLogger(WandbLogger):
    """Lightning's W&B logger that also shows a table of images with captions and references.

    ``monitor``: the score that tells the best epoch. ``checkpoint``: keep the best one as an artifact.
    """

    def __init__(self, *, images: int, monitor: str, checkpoint: bool, **settings: Any):
        super().__init__(**settings)
        self.images = images
        self.monitor = monitor
        self.checkpoint = checkpoint
        self.best: dict[str, float] = {}

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log settings under dotted names, one each: columns and axes of the dashboard are made of them."""
        given = vars(params) if isinstance(params, Namespace) else params
        settings = {name: value for name, value in given.items() if name != "job"}
        self.experiment.config.update(flatten(settings), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values; the run's summary keeps the validation scores of the best epoch, not the last."""
        super().log_metrics(metrics, step)
        if self.monitor not in metrics:
            return
        if not self.best or metrics[self.monitor] > self.best[self.monitor]:
            self.best = {k: v for k, v in metrics.items() if k.startswith("val/")}
        # after the client has put the last ones there
        self.experiment.summary.update(self.best)

    def log_examples(self, examples: list[Example], split: str, epoch: int) -> None:
        """Log the first ``images`` examples as a table ``<split>/captions``."""
        import wandb

        rows = examples[: self.images]
        scores = sorted({name for example in rows for name in example.scores})
        pictures = [attention_picture(example) for example in rows]
        attention: list[str | int] = ["attention"] if any(pictures) else []
        columns = ["epoch", "image_id", "image", *attention, "caption", "references", *scores]
        data = [
            [
                epoch,
                str(example.image_id),
                wandb.Image(example.image_array(), caption=example.caption),
                *([None if picture is None else wandb.Image(picture)] if attention else []),
                example.caption,
                "\n".join(example.references),
                *(example.scores.get(name) for name in scores),
            ]
            for example, picture in zip(rows, pictures, strict=True)
        ]
        self.experiment.log({f"{split}/captions": wandb.Table(columns=columns, data=data)})

    def conclude(self, best: Path | None, failed: bool) -> None:
        """End the run, so that the next one of this process is another; keep the checkpoint first.

        Lightning's own way refuses to work offline, and takes the last checkpoint too.
        """
        if self._experiment is None:
            return
        run = self.experiment
        if self.checkpoint and not failed and best is not None and best.exists():
            import wandb

            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(self.best))
            artifact.add_file(str(best))
            run.log_artifact(artifact, aliases=["best", "latest"])
        run.finish(exit_code=int(failed))


@contextmanager
def concluding(trainer: pl.Trainer) -> Iterator[None]:
    """End the W&B runs of a trainer with what happens here, well or not."""
    failed = True
    try:
        yield
        failed = False
    finally:
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        for logger in trainer.loggers:
            if isinstance(logger, CaptionWandbLogger) and trainer.is_global_zero:
                logger.conclude(Path(best) if best else None, failed)


def weights_and_biases(
    *,
    save_dir: str,
    mode: str = "online",
    project: str = "captionlab",
    name: str | None = None,
    group: str | None = None,
    job_title: str | None = None,
    sweep: str | None = None,
    tags: list[str] | None = None,
    job_type: str = "train",
    images: int = 32,
    checkpoint: bool = False,
    monitor: str = "val/cider",
) -> CaptionWandbLogger:
    """Return the W&B logger of a run; nothing is written outside the run folder.

    A job of a sweep is named by its ``job_title``, and without a group joins that of its ``sweep``.
    ``checkpoint``: keep the best one as an artifact (offline: with ``wandb sync``).

    Raises:
        UserError: if wandb is not installed, the mode is unknown, or ``online`` cannot work here
            (no key, or no network: the client itself would wait for minutes).
    """
    _check_settings(mode, project)
    mode = os.environ.get("WANDB_MODE", mode)
    if mode == "online":
        _check_online()
    os.makedirs(save_dir, exist_ok=True)
    _set_environment(mode, save_dir)
    return CaptionWandbLogger(
        images=images,
        monitor=monitor,
        project=project,
        name=name if job_title is None else job_title,
        save_dir=save_dir,
        offline=mode == "offline",
        checkpoint=checkpoint,
        group=group or sweep,
        tags=tags or [],
        job_type=job_type,
    )


def _check_settings(mode: str, project: str) -> None:
    if importlib.util.find_spec("wandb") is None:
        raise UserError("logger=wandb needs the package wandb: pip install 'captionlab[wandb]'.")
    if mode not in MODES:
        raise UserError(f"logger.wandb.mode={mode!r}: {did_you_mean(mode, MODES)}")
    if not project or len(project) > LONGEST_PROJECT or set(project) & set(NOT_IN_PROJECT):
        raise UserError(
            f"logger.wandb.project={project!r}: a project's name has up to {LONGEST_PROJECT} letters "
            f"and none of {NOT_IN_PROJECT}"
        )


def _set_environment(mode: str, save_dir: str) -> None:
    """Keep what the client writes in the run folder: table images are staged in the user's home."""
    # a folder that this process set is that of the run before
    if os.environ.get(DATA_DIR) in (None, os.environ.get(OWN_DATA_DIR)):
        os.environ[DATA_DIR] = os.environ[OWN_DATA_DIR] = os.path.join(save_dir, "wandb")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ["WANDB_MODE"] = mode


def _check_online() -> None:
    import wandb

    instead = "set logger.wandb.mode=offline and upload later with `wandb sync`."
    address = urlsplit(wandb.setup().settings.base_url)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"logger.wandb.mode=online cannot reach the W&B server {address.hostname} ({error}): "
            f"{instead}"
        ) from error
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.Error as error:
        raise UserError(f"logger.wandb.mode=online: {error}; {instead}") from error
    if not known:
        raise UserError(f"logger.wandb.mode=online has no W&B key: run `wandb login`, or {instead}")


def tensorboard(*, save_dir: str) -> Logger:
    """Return Lightning's TensorBoard logger, writing into ``save_dir/tensorboard``.

    Raises:
        UserError: if tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "logger=tensorboard needs the package tensorboard: pip install 'captionlab[tensorboard]'."
        )
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)
