"""Loggers that need an extra: Weights & Biases, TensorBoard; and their table of captioned images."""

from __future__ import annotations

import importlib.util
import os
import socket
from argparse import Namespace
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from captionlab.errors import UserError, did_you_mean
from captionlab.training.gallery import Example
from captionlab.training.table import flatten

MODES = ("online", "offline", "disabled")
# what a sweep tells its jobs
SWEEP_NAME, JOB_TITLE = "CAPTIONLAB_SWEEP_NAME", "CAPTIONLAB_JOB_TITLE"


class CaptionWandbLogger(WandbLogger):
    """Lightning's W&B logger that also shows a table of images with captions and references.

    ``monitor``: the score that tells the best epoch.
    """

    def __init__(self, *, images: int, monitor: str, **settings: Any):
        super().__init__(**settings)
        self.images = images
        self.monitor = monitor
        self.best: dict[str, float] = {}

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log settings under dotted names, one each: columns and axes of the dashboard are made of them."""
        given = vars(params) if isinstance(params, Namespace) else params
        self.experiment.config.update(flatten(given), allow_val_change=True)

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
        columns: list[str | int] = ["epoch", "image_id", "image", "caption", "references", *scores]
        data = [
            [
                epoch,
                str(example.image_id),
                wandb.Image(example.image_array(), caption=example.caption),
                example.caption,
                "\n".join(example.references),
                *(example.scores.get(name) for name in scores),
            ]
            for example in rows
        ]
        self.experiment.log({f"{split}/captions": wandb.Table(columns=columns, data=data)})


def weights_and_biases(
    *,
    save_dir: str,
    mode: str = "online",
    project: str = "captionlab",
    name: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    job_type: str = "train",
    images: int = 32,
    checkpoint: bool = False,
    monitor: str = "val/cider",
) -> CaptionWandbLogger:
    """Return the W&B logger of a run; nothing is written outside the run folder.

    In a sweep (``hydra/launcher=process``) a run without a group joins the sweep's, and is named by
    what its job tries. ``checkpoint``: upload the best one as an artifact at the end.

    Raises:
        UserError: if wandb is not installed, the mode is unknown, or ``online`` cannot work here
            (no key, or no network: the client itself would wait for minutes).
    """
    if importlib.util.find_spec("wandb") is None:
        raise UserError("logger=wandb needs the package wandb: pip install 'captionlab[wandb]'.")
    if mode not in MODES:
        raise UserError(f"logger.wandb.mode={mode!r}: {did_you_mean(mode, MODES)}")
    mode = os.environ.get("WANDB_MODE", mode)
    if mode == "online":
        _check_online()
    os.makedirs(save_dir, exist_ok=True)
    # where table images are staged: otherwise in the user's home
    os.environ.setdefault("WANDB_DATA_DIR", os.path.join(save_dir, "wandb"))
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ["WANDB_MODE"] = mode
    return CaptionWandbLogger(
        images=images,
        monitor=monitor,
        project=project,
        name=os.environ.get(JOB_TITLE, name),
        save_dir=save_dir,
        offline=mode == "offline",
        log_model=checkpoint,
        group=group or os.environ.get(SWEEP_NAME),
        tags=tags or [],
        job_type=job_type,
    )


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
