"""How the tests of the commands start a small run."""

from __future__ import annotations

import os
import signal as signals
import sys
from collections.abc import Iterable
from pathlib import Path

import pytorch_lightning as pl
from hydra.core.global_hydra import GlobalHydra
from lightning_fabric.plugins import TorchCheckpointIO
from PIL import Image
from pytorch_lightning.callbacks import Callback

from captionlab.cli.hydra_main import _train, hydra_main
from captionlab.core.errors import UserError
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from captionlab.text.tokenizers import WordTokenizer

SMALL = [
    "data.source.train_size=128",
    "data.source.val_size=8",
    "data.source.test_size=8",
    "data.tokenizer.threshold=2",
    "data.batch_size=16",
    "model.encoder.image_size=32",
    "model.decoder.hidden=32",
    "model.decoder.embedding=32",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.max_epochs=2",
    "meteor=false",
]


GAN = [
    "objective=adversarial",
    "objective.warm_up_steps=2",
    "objective.num_samples=2",
    "objective.discriminator.hidden=16",
    "data.captions_per_image=2",
]


def run_train(folder: Path, *overrides: str) -> None:
    """Run ``python train.py OVERRIDES`` in this process, from ``folder``."""
    GlobalHydra.instance().clear()
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["train.py", *overrides]
    try:
        hydra_main(_train)()
    finally:
        sys.argv = argv
        os.chdir(before)
        os.environ.pop("HYDRA_FULL_ERROR", None)


def csv_data(
    folder: Path, rows: int, caption: str = "a dog runs on the green grass {}"
) -> list[str]:
    """Write images with captions into ``folder/data``; return the overrides of a run with them."""
    (folder / "data").mkdir()
    lines = ["image,caption,split"]
    for i in range(rows):
        Image.new("RGB", (40, 40), (i * 9 % 256, 80, 90)).save(folder / "data" / f"{i}.png")
        split = "train" if i < rows - 4 else "val" if i < rows - 2 else "test"
        lines.append(f"{i}.png,{caption.format('slowly' if i % 2 else 'fast')},{split}")
    (folder / "data" / "captions.csv").write_text("\n".join(lines) + "\n")
    return [
        "data=csv",
        f"data.root={folder / 'data'}",
        "data.tokenizer.threshold=1",
        "trainer.max_epochs=1",
        "meteor=false",
    ]


class StopAt(Callback):
    """Sends this process a signal in the midst of a run, as Ctrl-C does, during a batch."""

    def __init__(self, *, batches: int, signal: str = "SIGINT") -> None:
        self.batches, self.signal = batches, signals.Signals[signal]

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.batches:
            os.kill(os.getpid(), self.signal)


class KillAt(Callback):
    """Ends this process as a lost machine does, in the second epoch."""

    def __init__(self, *, where: str, rank: int = 0) -> None:
        self.where = where
        self.rank = rank

    def _kill(self, trainer: pl.Trainer, where: str) -> None:
        here = trainer.global_rank == self.rank and trainer.current_epoch == 1
        if where == self.where and here and not trainer.sanity_checking:
            os.kill(os.getpid(), signals.SIGKILL)

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: object) -> None:
        self._kill(trainer, "step")

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self._kill(trainer, "validation")

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: object) -> None:
        if self.where == "checkpoint" and trainer.current_epoch == 1:

            def half(_: object, checkpoint: object, path: Path, storage_options: object) -> None:
                path.write_bytes(
                    b"PK" * 500
                )  # a part of the file is written when the light goes out
                self._kill(trainer, "checkpoint")

            TorchCheckpointIO.save_checkpoint = half  # type: ignore[method-assign, assignment]


class Spoil(Callback):
    """Makes a weight no number in the second epoch."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == 2:
            next(pl_module.parameters()).data.fill_(float("nan"))


class FolderInPlaceOf(Callback):
    """Puts a folder where a file was, or takes a folder away, in the second epoch."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch != 1:
            return
        if self.path.is_dir():
            self.path.rename(self.path.with_name("gone"))
        else:
            self.path.unlink()
            self.path.mkdir()


class FailOn(Callback):
    """Fails on one rank in the midst of an epoch."""

    def __init__(self, *, rank: int) -> None:
        self.rank = rank

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_rank == self.rank and batch_idx == 3:
            raise UserError(f"the photograph of rank {self.rank} is damaged")


def counted_once(captions: Iterable[str], *, threshold: int, max_size: int | None) -> WordTokenizer:
    """Return the tokenizer of captions; they must not be counted on another rank than the first."""
    assert os.environ.get("LOCAL_RANK", "0") == "0", "the vocabulary is counted on each rank"
    return WordTokenizer.fit(captions, threshold=threshold, max_size=max_size)


class WeighedOnce(Reward):
    """A reward that insists that the references were counted on rank 0."""

    def prepare(self, text: TrainingText) -> None:
        assert (text.counted is None) == (os.environ.get("LOCAL_RANK", "0") == "0")
        super().prepare(text)
