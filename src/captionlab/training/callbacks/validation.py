"""What happens beside training: the watch on collapse, the gallery of each epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from captionlab.core.errors import UserError
from captionlab.data.summary import count
from captionlab.evaluation.examples import collect_examples, example_ids
from captionlab.evaluation.gallery import write_gallery
from captionlab.evaluation.provenance import (
    describe_checkpoint,
    describe_data,
    describe_decoding,
)
from captionlab.training.loggers.dashboards import CaptionWandbLogger
from captionlab.training.module import CaptioningModule, evaluation_split

log = logging.getLogger(__name__)


class Collapse(Callback):
    """Watches what must not be lost while captions get better, and keeps the last healthy model.

    A validation is healthy if every score of ``monitor`` is at least ``share`` of what it was at the
    start: in the checkpoint that the run began from, or else in the first validation. By default
    these are div_2 (captions become one another) and cider (captions become noise). A healthy model
    is written to ``healthy.ckpt``. The first validation that is not is said; ``stop`` ends the run
    there. Raises UserError where validation has no such score.
    """

    def __init__(
        self,
        *,
        dirpath: str,
        monitor: Sequence[str] = ("div_2", "cider"),
        share: float = 0.5,
        stop: bool = False,
    ):
        if not 0 < share < 1:
            raise UserError(f"callbacks.collapse.share={share} is not between 0 and 1")
        self.path = Path(dirpath) / "healthy.ckpt"
        self.monitor = list(monitor)
        self.share = share
        self.stop = stop
        self.first: dict[str, float] = {}
        self.collapsed = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the validation that was just scored."""
        if trainer.sanity_checking or not isinstance(pl_module, CaptioningModule):
            return
        scores = pl_module.evaluator.results["val"]
        for name in self.monitor:
            if name not in scores:
                raise UserError(
                    f"callbacks.collapse.monitor={name}: validation has no such score. div_2 "
                    "compares several captions of an image: say samples=5, or callbacks=default"
                )
            self.first.setdefault(name, pl_module.start_scores.get(name, scores[name]))
        lost = [n for n in self.monitor if scores[n] < self.share * self.first[n]]
        if not lost:
            self.collapsed = False
            # every rank takes part in it, the first one writes
            trainer.save_checkpoint(self.path, weights_only=True)
            return
        if not self.collapsed:
            kept = f"; the last healthy model is {self.path}" if self.path.exists() else ""
            log.warning(
                "the captions have collapsed: %s%s",
                ", ".join(f"val/{n} is {scores[n]:.3f}, it was {self.first[n]:.3f}" for n in lost),
                kept,
            )
        self.collapsed = True
        trainer.should_stop |= self.stop

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run compares with."""
        return {"first": self.first, "collapsed": self.collapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the start of the run that is resumed."""
        self.first = dict(state_dict["first"])
        self.collapsed = state_dict["collapsed"]


class Gallery(Callback):
    """Writes gallery.html and fills the dashboard's table after each validation and test.

    Args:
        path: of the page. images: how many of the split are shown (the first ones: the same ones
            each epoch, so that progress can be followed).
    """

    def __init__(self, *, path: str, images: int = 100):
        self._path = Path(path)
        self._images = images

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask for the attention of what will be shown."""
        self._keep_attention(trainer, pl_module, "val")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask for the attention of what will be shown."""
        self._keep_attention(trainer, pl_module, evaluation_split(trainer))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the validation split."""
        if not trainer.sanity_checking:
            epoch = trainer.current_epoch + 1
            averaged = getattr(pl_module, "average", None) is not None
            kind = "average of the weights" if averaged else "weights"
            weights = f"none: the {kind} in training after epoch {epoch}, of {self._folder}"
            self._show(trainer, pl_module, "val", f"after epoch {epoch}", weights)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the split that was tested; the page of an earlier split is replaced."""
        if isinstance(pl_module, CaptioningModule):
            split, file = evaluation_split(trainer), pl_module.weights_from
            when = f"after epoch {trainer.current_epoch if file is None else file[1]}"
            if file is None:
                weights = f"none: the weights at the end of training, {when}, of {self._folder}"
            else:
                weights, when = describe_checkpoint([file]), f"{file[0].name} {when}"
            self._show(trainer, pl_module, split, when, weights)

    @property
    def _folder(self) -> Path:
        return self._path.parent.absolute()

    def _keep_attention(self, trainer: pl.Trainer, module: pl.LightningModule, split: str) -> None:
        if isinstance(module, CaptioningModule):
            dataset = trainer.datamodule.dataset(split)  # type: ignore[attr-defined]
            module.evaluator.keep_attention(example_ids(dataset, self._images))

    def _show(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        split: str,
        when: str,
        weights: str,
    ) -> None:
        if not trainer.is_global_zero or not isinstance(module, CaptioningModule):
            return
        scores = module.evaluator.scores.get(split)
        if scores is None or self._images == 0:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.dataset(split)
        examples = collect_examples(dataset, scores, self._images, module.evaluator.traces)
        read = {"name": data.name, "origin": module.data_origin, **count(dataset.records)}
        stored = None if dataset.features is None else dataset.features.path
        facts = {
            "data": describe_data(read, split, scored=len(scores.captions), features=stored),
            "checkpoint": weights,
            "decoding": describe_decoding(module.evaluator.decoding),
        }
        title = f"{data.name} {split}, {when}"
        write_gallery(self._path, examples, title, scores.corpus, facts)
        for logger in trainer.loggers:
            if isinstance(logger, CaptionWandbLogger):
                logger.log_examples(examples, split, trainer.current_epoch)
