"""Small parts that several tests build."""

from __future__ import annotations

from captionlab.configuration import Sizes, build_captioner, compose, resolve
from captionlab.models.captioner import Captioner


def tiny_config(*overrides: str) -> dict:
    """Return the resolved default configuration, shrunk until a run takes seconds."""
    small = [
        "output_dir=unused",
        "data.source.train_size=96",
        "data.source.val_size=8",
        "data.source.test_size=8",
        "data.tokenizer.threshold=1",
        "model.encoder.image_size=32",
        "model.decoder.hidden=16",
        "model.decoder.embedding=16",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "meteor=false",
    ]
    return resolve(compose([*small, *overrides]))


def tiny_captioner(*overrides: str, vocabulary: int = 11, pad_id: int = 0) -> Captioner:
    """Return an untrained small captioner."""
    return build_captioner(tiny_config(*overrides)["model"], Sizes(vocabulary, pad_id))
