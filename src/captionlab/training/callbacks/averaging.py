"""Averages of weights: what is validated and kept in place of the weights in training."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy

from captionlab.core.errors import UserError
from captionlab.training.module import CaptioningModule
from captionlab.training.weight_average import WeightAverage


class ExponentialMovingAverage(Callback):
    """Validates an exponential moving average of the weights, which checkpoints then hold.

    best.ckpt is the average, and last.ckpt the average and the weights in training. Where an
    objective begins anew from the best weights, so does the average. Lightning's own
    ``EMAWeightAveraging`` is not used, for a checkpoint of weights alone (best.ckpt) never asks it;
    besides, it copies the whole module, frozen encoder and discriminator included, averages the
    infinities of masks into no numbers, and knows no warm-up.

    Args:
        decay: of the average, from 0 to 1, 1 excluded. start_step: optimizer steps before it begins.

    Raises:
        UserError: for a value out of these bounds.
    """

    def __init__(self, *, decay: float = 0.999, start_step: int = 0) -> None:
        if not 0 <= decay < 1:
            raise UserError(
                f"callbacks.average.decay={decay} must be at least 0 and below 1: 0.999 is usual"
            )
        if start_step < 0:
            raise UserError(f"callbacks.average.start_step={start_step} must be at least 0")
        self._decay = decay
        self._start_step = start_step

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin with the weights that the run begins with, before a checkpoint is restored.

        Raises:
            UserError: for a strategy that deals a model's weights to several devices.
        """
        if stage != "fit" or not isinstance(pl_module, CaptioningModule):
            return
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError(
                f"callbacks.average: trainer.strategy={type(trainer.strategy).__name__} holds a part "
                "of the weights in each process; say trainer.strategy=ddp, or callbacks/average=none"
            )
        pl_module.average = WeightAverage(
            pl_module.captioner, decay=self._decay, start_step=self._start_step
        )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the average be validated."""
        if isinstance(pl_module, CaptioningModule) and pl_module.average is not None:
            pl_module.average.swap_in()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights in training."""
        if isinstance(pl_module, CaptioningModule) and pl_module.average is not None:
            pl_module.average.swap_out()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average: a run without best.ckpt tests what it holds."""
        if isinstance(pl_module, CaptioningModule) and pl_module.average is not None:
            pl_module.average.swap_in()
            pl_module.average = None
