"""How the tests of the commands start a small run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

from captionlab.commands.door import _train, hydra_main

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
