"""The LightningModule: one objective in training, real captions in validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import (
    LRSchedulerConfigType,
    LRSchedulerTypeUnion,
    OptimizerLRSchedulerConfig,
)
from torch import Tensor
from torch.optim import Optimizer

from captionlab.core.config_types import Config
from captionlab.data.dataset import CaptionBatch
from captionlab.evaluation.evaluator import Evaluator
from captionlab.inference.checkpoints import KEY, OPTIMIZERS, WEIGHTS_PREFIX, read_checkpoint
from captionlab.inference.weights import load_weights
from captionlab.objectives.base import Objective, StageStart, require_objective, with_tags
from captionlab.training.earlier_checkpoints import update_checkpoint
from captionlab.training.loss_guard import LossGuard
from captionlab.training.optimizers import (
    NewOptimizer,
    build_optimizer,
    parameter_groups,
    reset_optimizer,
)
from captionlab.training.random_state import random_states_of_all_ranks, restore_random_state
from captionlab.training.schedules import Schedule
from captionlab.training.weight_average import WeightAverage, restore_average

RANDOM = "random_state"  # where a checkpoint holds the generators' states, a rank each


class CaptioningModule(pl.LightningModule):
    """Trains a captioner with an objective; validates and tests by what an evaluator scores.

    Args:
        evaluator: holds the captioner that is trained, and those that only write with it.
        objective: captioner and batch -> loss.
        optimizer: called with parameter groups. schedule: completed with the optimizer, or None.
        portable: what makes a checkpoint self-contained beside the weights: plain dicts only.
        start_scores: validation scores of the model that the run begins from, if any.
    """

    def __init__(
        self,
        *,
        evaluator: Evaluator,
        objective: Objective,
        optimizer: NewOptimizer,
        schedule: Schedule | None = None,
        portable: Config | None = None,
        start_scores: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.captioner, *others = evaluator.captioners
        self.others = torch.nn.ModuleList(others)
        self.evaluator = evaluator
        self.objective = require_objective(objective)
        self.new_optimizer = optimizer
        self.start_scores = dict(start_scores or {})
        self.weights_from: tuple[Path, int] | None = None  # a checkpoint and its epochs
        self.average: WeightAverage | None = None  # what a callback lets the run keep
        self._schedule = schedule
        self._portable = dict(portable or {})
        self._loss_guard = LossGuard()
        self._always_logged: frozenset[str] = frozenset()
        self._epoch_start = 0.0  # by a monotonic clock

    @property
    def data_origin(self) -> str | None:
        """Where the training data were read, as checkpoints of the run tell it."""
        origin: str | None = self._portable.get("data", {}).get("origin")
        return origin

    def load_checkpoint(self, path: str | Path) -> None:
        """Load the weights of a checkpoint into the captioner; ``weights_from`` names it then.

        Raises:
            UserError: if it is none, or of another model.
        """
        checkpoint = read_checkpoint(path)
        load_weights(self.captioner, checkpoint)
        self.weights_from = (checkpoint.path, checkpoint.epochs)

    def setup(self, stage: str) -> None:
        """Let each rank draw dropout and captions of its own: Lightning seeds all of them alike."""
        if stage == "fit" and self.global_rank:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """Return the objective's loss and log its diagnostics."""
        done = batch_idx / self.trainer.num_training_batches
        self.objective.on_train_batch_start(self.current_epoch + done)
        loss, diagnostics = with_tags(self.objective, self.captioner, batch)
        self._loss_guard.update(self.global_step, loss, batch.image_ids)
        log = {"train/loss": loss.detach()}
        for name, value in diagnostics.items():
            log[f"train/{self.objective.name}/{name}"] = value
        self.log_dict(log, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient's norm, before it is clipped; weights of the objective's own step too."""
        gradients = [p.grad for p in self.captioner.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.log("train/gradient_norm", norm, on_step=False, on_epoch=True, batch_size=1)
        self.objective.on_before_optimizer_step()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, and let the average follow before any callback sees or saves the weights."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None:
            self.average.update()

    def on_train_start(self) -> None:
        """Start the clock: of an interrupted epoch no beginning is announced."""
        self._epoch_start = time.monotonic()

    def on_train_epoch_start(self) -> None:
        """Start the clock, and a new stage where the objective begins one with this epoch."""
        self._epoch_start = time.monotonic()
        scores = self.evaluator.results.get("val", {})
        stage = self.objective.on_train_epoch_start(self.current_epoch, scores)
        if stage is not None:
            self._start_stage(stage)

    def _start_stage(self, stage: StageStart) -> None:
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        if stage.from_best_weights and best and Path(best).exists():
            load_weights(self.captioner, read_checkpoint(best))
        if self.average is not None:
            self.average.restart()
        optimizer = self.optimizers(use_pl_optimizer=False)
        reset_optimizer(optimizer, stage.learning_rate)  # type: ignore[arg-type]

    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: Any | None) -> None:
        """Move the schedule on, unless the objective has a rate of its own now."""
        if not self.objective.pauses_schedule:
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Log the learning rate that the epoch ended with, and its seconds, validation included."""
        self.log("train/seconds", time.monotonic() - self._epoch_start)
        optimizer = self.optimizers(use_pl_optimizer=False)
        self.log("train/lr", optimizer.param_groups[0]["lr"])  # type: ignore[union-attr]

    def on_validation_epoch_start(self) -> None:
        """Give every rank the same captioner."""
        self.evaluator.start()

    def on_test_epoch_start(self) -> None:
        """Give every rank the same captioner."""
        self.evaluator.start()

    def validation_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Generate and collect the captions of a batch."""
        self.evaluator.update(batch)

    def test_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Generate and collect the captions of a batch."""
        self.evaluator.update(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the whole validation split, once."""
        if self.trainer.sanity_checking:
            self.evaluator.reset()
        else:
            self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Score the whole evaluated split, once."""
        self._log_scores(evaluation_split(self.trainer))

    def _log_scores(self, split: str) -> None:
        # every rank holds the same values: it needs no reduction
        values = {f"{split}/{n}": value for n, value in self.evaluator.compute(split).items()}
        absent = {n for n in self._always_logged if n.startswith(f"{split}/")} - values.keys()
        self.log_dict({**values, **dict.fromkeys(absent, math.nan)})

    def logged_names(self, *, validates: bool) -> set[str]:
        """Return the names of all values that a run will log, but for an objective's diagnostics.

        Those are ``train/OBJECTIVE/...`` and known with the first step.
        """
        names = {"train/loss", "train/gradient_norm", "train/seconds", "train/lr"}
        if validates:
            names |= {f"val/{name}" for name in self.evaluator.score_names()}
        return names

    def always_log(self, names: Collection[str]) -> None:
        """Log these scores as no number where they could not be computed, as METEOR without Java.

        Lightning ends a run whose callback monitors a value that is not logged at all.
        """
        self._always_logged = frozenset(names)

    def new_schedule(
        self, optimizer: Optimizer, *, steps: int, epochs: int
    ) -> LRSchedulerConfigType | None:
        """Return Lightning's settings of the schedule for an optimizer, None without one."""
        if self._schedule is None:
            return None
        return self._schedule(optimizer, steps=steps, epochs=epochs)

    def configure_optimizers(self) -> Optimizer | OptimizerLRSchedulerConfig:
        """Return the optimizer, with the encoder's own rate where it has one, and the schedule."""
        optimizer = build_optimizer(self.new_optimizer, parameter_groups(self.captioner))
        # asking for the number of steps makes Lightning build the loader: only for a schedule
        if self._schedule is None:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = self._schedule(optimizer, steps=steps, epochs=self.trainer.max_epochs or 1)
        if "monitor" in schedule:  # it has a new value only where there was a validation
            every = self.trainer.check_val_every_n_epoch or 1
            schedule |= {"frequency": every, "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what makes the file self-contained beside the weights (plain types only).

        Raises:
            UserError: if the losses that led to these weights are no numbers.
        """
        self._loss_guard.check()
        results = self.evaluator.results.get("val", {})
        scores = {name: float(value) for name, value in results.items()}
        checkpoint[KEY] = {**self._portable, "scores": scores}
        if self.average is not None:
            self.average.save(checkpoint)
        states = random_states_of_all_ranks()
        if OPTIMIZERS in checkpoint:
            checkpoint[RANDOM] = states
        else:  # one of weights alone, for use: nothing that only training needs
            weights: dict[str, Any] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {
                name: value for name, value in weights.items() if name.startswith(WEIGHTS_PREFIX)
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on drawing where the run stopped, so that it ends as it would have without the stop."""
        update_checkpoint(checkpoint, self)
        restore_average(self.average, checkpoint)
        restore_random_state(checkpoint.get(RANDOM, []), self.trainer.global_rank)


def evaluation_split(trainer: pl.Trainer) -> str:
    """Return the split that a trainer's test is of."""
    split: str = trainer.datamodule.evaluation_split  # type: ignore[attr-defined]
    return split
