"""Ending a run from outside without losing anything: Ctrl-C, what schedulers send, a full disk."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, Timer
from pytorch_lightning.utilities.types import STEP_OUTPUT

from captionlab.core.errors import UserError
from captionlab.core.files import replacing

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; a scheduler that wants the machine back
# EX_TEMPFAIL of sysexits.h, "try again": what a scheduler's requeue condition can be told
REQUEUE = 75
AGREE_EVERY = 8  # batches: several processes ask each other no oftener, since that waits for all

log = logging.getLogger(__name__)

Handler = Callable[[int, FrameType | None], object] | int | None  # as signal.signal returns it


class Interrupt(Callback):
    """Lets a signal end the run between two steps, with a last.ckpt that goes on exactly there.

    A signal while an epoch is validated waits for its end. The second one ends the run at once, with
    the last.ckpt that there is. With several processes all stop at the same step.
    """

    def __init__(self, *, dirpath: str) -> None:
        self._path = Path(dirpath) / "last.ckpt"
        self._before: dict[int, Handler] = {}
        self.received: int | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen, in place of Lightning, which saves nothing."""
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # Windows lacks one
                if number is not None:
                    self._before[number] = signal.signal(number, self._receive)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen no more."""
        self._restore()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Listen no more."""
        self._restore()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save and stop, where that was asked for and a resumed run can go on."""
        if within_epoch(trainer, batch_idx) and self._agreed(trainer, batch_idx):
            trainer.save_checkpoint(self._path)
            raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after an epoch, whose checkpoint is written."""
        if trainer.global_step and self._agreed(trainer, 0):
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        log.info("%s: stopping after this step; once more: at once", signal.Signals(number).name)

    def _agreed(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        stop = self.received is not None
        if trainer.world_size == 1:
            return stop
        if batch_idx % AGREE_EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(stop, all=False)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def within_epoch(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether a run can go on exactly after this batch: a step is whole, and not the last one.

    After the last one validation follows, which a run that goes on from there would leave out.
    """
    done = batch_idx + 1
    return done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0


class FinalValidation(Callback):
    """Validates the end of a run, wherever it is: what was trained last is scored, and may be best.

    Lightning validates every so many epochs or batches; a run whose last ones are no multiple of
    that, or that ends within an epoch (``max_steps``, ``max_time``), would end without.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the last epoch be validated."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            _validate_this_epoch(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Let the last batch be validated."""
        last = batch_idx + 1 >= trainer.num_training_batches
        ends = last and trainer.current_epoch + 1 == trainer.max_epochs
        if ends or trainer.global_step >= trainer.max_steps > 0 or self._is_out_of_time(trainer):
            _validate_this_epoch(trainer)
            trainer.should_stop = True  # after which Lightning validates, and ends

    @staticmethod
    def _is_out_of_time(trainer: pl.Trainer) -> bool:
        callbacks: list[Callback] = getattr(trainer, "callbacks", [])
        left = [one.time_remaining() for one in callbacks if isinstance(one, Timer)]
        return any(seconds is not None and seconds <= 0 for seconds in left)


def _validate_this_epoch(trainer: pl.Trainer) -> None:
    # None counts batches over epochs, and needs no epoch that is a multiple of a number
    if trainer.check_val_every_n_epoch is not None:
        trainer.check_val_every_n_epoch = 1


class LastCheckpoint(ModelCheckpoint):
    """Writes last.ckpt after each epoch, validated or not, and, in long ones, every so many steps.

    Where a run ends by an error, it writes what was trained until then. Raises UserError for a
    number of steps below 1.
    """

    def __init__(self, *, dirpath: str, every_n_train_steps: int | None = None) -> None:
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise UserError(
                f"callbacks.last.every_n_train_steps={every_n_train_steps} must be at least 1, or null"
            )
        # of its own: Lightning's save_last writes last.ckpt only when the best one changes
        super().__init__(
            dirpath,
            filename="last",
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.steps = every_n_train_steps
        self._path = Path(dirpath) / "last.ckpt"

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save in the midst of an epoch."""
        if self.steps is None or trainer.global_step % self.steps:
            return
        if within_epoch(trainer, batch_idx):
            trainer.save_checkpoint(self._path)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation in the midst of an epoch; its end saves by itself."""
        if self._should_skip_saving_checkpoint(trainer):
            return
        if within_epoch(trainer, trainer.fit_loop.epoch_loop.batch_idx):
            trainer.save_checkpoint(self._path)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save what was trained before an error; several processes cannot, since they would wait."""
        if isinstance(exception, KeyboardInterrupt | SystemExit) or trainer.world_size > 1:
            return
        if trainer.sanity_checking or self._last_global_step_saved == trainer.global_step:
            return
        try:
            trainer.save_checkpoint(self._path)
        except Exception as second:  # whatever it is, it must not hide the first
            if str(second) != str(exception):
                log.error("and what was trained since last.ckpt cannot be saved: %s", second)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name and renames it: the old one stays until then."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a file.

        Raises:
            UserError: if it cannot be written.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                super().save_checkpoint(checkpoint, temporary, storage_options)
        except OSError as error:
            kept = "; the one before is whole" if target.exists() else ""
            raise UserError(
                f"{target} cannot be written ({error.strerror or error}): make room, or choose "
                f"another hydra.run.dir{kept}"
            ) from error
