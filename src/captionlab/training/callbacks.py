"""What happens beside training: saving on Ctrl-C, and the gallery of each epoch."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from captionlab.errors import UserError
from captionlab.files import replacing
from captionlab.training.dashboards import CaptionWandbLogger
from captionlab.training.examples import collect_examples
from captionlab.training.gallery import write_gallery
from captionlab.training.module import CaptioningModule


class SaveOnInterrupt(Callback):
    """Writes last.ckpt when training is interrupted (Ctrl-C, a lost node), so that it can go on."""

    def __init__(self, *, dirpath: str):
        self._path = Path(dirpath) / "last.ckpt"

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save the state as it is, under a temporary name first: the old file stays until then."""
        if trainer.global_step == 0 or isinstance(exception, UserError) or trainer.world_size > 1:
            return  # nothing learned yet, or a state that must not be kept, or ranks out of step
        with replacing(self._path) as temporary:
            trainer.save_checkpoint(temporary)


class Gallery(Callback):
    """Writes gallery.html and fills the dashboard's table after each validation and test.

    Args:
        path: of the page. images: how many of the split are shown (the first ones: the same ones
            each epoch, so that progress can be followed).
    """

    def __init__(self, *, path: str, images: int = 100):
        self._path = Path(path)
        self._images = images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the validation split."""
        if not trainer.sanity_checking:
            self._show(trainer, pl_module, "val", f"val after epoch {trainer.current_epoch + 1}")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the split that was tested; the page of an earlier split is replaced."""
        if isinstance(pl_module, CaptioningModule):
            split = pl_module.evaluation_split
            self._show(trainer, pl_module, split, f"{split}, best checkpoint")

    def _show(
        self, trainer: pl.Trainer, module: pl.LightningModule, split: str, title: str
    ) -> None:
        if not trainer.is_global_zero or not isinstance(module, CaptioningModule):
            return
        scores = module.scores.get(split)
        if scores is None or self._images == 0:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        examples = collect_examples(data.dataset(split), scores, self._images)
        write_gallery(self._path, examples, title=title, summary=scores.corpus)
        for logger in trainer.loggers:
            if isinstance(logger, CaptionWandbLogger):
                logger.log_examples(examples, split, trainer.current_epoch)
