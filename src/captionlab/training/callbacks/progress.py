"""One progress bar for the whole run, with loss, CIDEr and the time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.utilities.types import STEP_OUTPUT
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)

log = logging.getLogger(__name__)

# what an epoch's line shows of captions, and of answers to questions
OF_CAPTIONS = ("val/loss", "val/bleu_4", "val/meteor", "val/cider", "val/truth")
OF_ANSWERS = ("val/loss", "val/exact_match", "val/vqa_accuracy", "val/cider")


class Progress(ProgressBar):
    """Shows the run as one bar on a terminal, and as one line an epoch everywhere else.

    Lightning's own bars start again with each epoch and so never tell when the run will end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._console = Console()
        self._enabled = True
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._began = 0.0
        self._done_before = 0
        self._loss: float | None = None

    def disable(self) -> None:
        """Show nothing (Lightning calls this on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Show again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar at the step where the run begins or goes on."""
        self._began = time.monotonic()
        self._done_before = self._steps_done(trainer)
        # asked of stdout: some environments make rich believe in a terminal where there is none
        if self._enabled and sys.stdout.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=4,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                "training", total=self._steps(trainer), completed=self._done_before, values=""
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the bar; the loss is read every 20 batches only, since reading waits for the device."""
        if not self._enabled:
            return
        if batch_idx % 20 == 0:
            assert isinstance(outputs, Mapping)  # automatic optimization gives a dict
            self._loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=self._steps_done(trainer),
                description=f"epoch {trainer.current_epoch + 1}/{self._epochs(trainer)}",
                values=self._values(trainer),
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what the bar is waiting for."""
        if self._bar is not None and not trainer.sanity_checking:
            self._bar.update(self._task, values="generating captions ...")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's line; it stays above the bar."""
        if not self._enabled or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        metrics = trainer.callback_metrics
        names = OF_ANSWERS if "val/exact_match" in metrics else OF_CAPTIONS
        shown = {n.split("/")[1]: float(metrics[n]) for n in names if n in metrics}
        epochs = self._epochs(trainer)
        train = f"train {self._loss:.3f}  " if self._loss is not None else ""
        scores = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
        line = f"epoch {trainer.current_epoch + 1}/{epochs}  {train}{scores}  {self._left(trainer)}"
        log.info(line)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _steps(self, trainer: pl.Trainer) -> int | None:
        if trainer.max_steps and trainer.max_steps > 0:
            return trainer.max_steps * trainer.accumulate_grad_batches
        if not trainer.max_epochs or trainer.max_epochs < 0:
            return None
        return int(trainer.num_training_batches) * trainer.max_epochs

    def _epochs(self, trainer: pl.Trainer) -> str:
        return str(trainer.max_epochs) if (trainer.max_epochs or 0) > 0 else "?"

    def _steps_done(self, trainer: pl.Trainer) -> int:
        return trainer.fit_loop.epoch_loop.total_batch_idx + 1

    def _values(self, trainer: pl.Trainer) -> str:
        values = [f"loss {self._loss:.3f}"] if self._loss is not None else []
        if "val/cider" in trainer.callback_metrics:
            values.append(f"CIDEr {float(trainer.callback_metrics['val/cider']):.3f}")
        return "  ".join(values)

    def _left(self, trainer: pl.Trainer) -> str:
        """Return elapsed and remaining time; validation is in both, since it recurs like training."""
        elapsed = time.monotonic() - self._began
        total, done = self._steps(trainer), self._steps_done(trainer)
        if total is None or done <= self._done_before:
            return f"{clock(elapsed)} gone"
        left = elapsed * (total - done) / (done - self._done_before)
        return f"{clock(elapsed)} gone, {clock(left)} left"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
