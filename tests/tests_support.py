"""Small parts that several tests build."""

from __future__ import annotations

import torch
from omegaconf import OmegaConf

from captionlab.configuration import Sizes, build_captioner, compose, config_dir, resolve
from captionlab.models.captioner import Captioner

SMALL = {
    "data.source.train_size": 96,
    "data.source.val_size": 8,
    "data.source.test_size": 8,
    "data.tokenizer.threshold": 1,
    "model.encoder.image_size": 32,
    "model.decoder.hidden": 16,
    "model.decoder.embedding": 16,
    "model.decoder.feed_forward": 24,
    "model.decoder.heads": 2,
    "model.decoder.encoder_layers": 2,
    "model.decoder.memory_slots": 3,
    "model.decoder.refiner_layers": 1,
    "model.decoder.latent": 4,
    "model.attention.heads": 2,
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "meteor": False,
}


def tiny_config(*overrides: str) -> dict:
    """Return the resolved default configuration, shrunk until a run takes seconds.

    Of SMALL what the chosen parts have and the overrides do not set.
    """
    config = compose(["output_dir=unused", *overrides])
    for key, value in SMALL.items():
        # 0 and null stand for a part that is switched off
        if OmegaConf.select(config, key) and not any(o.startswith(f"{key}=") for o in overrides):
            OmegaConf.update(config, key, value)
    return resolve(config)


# every preset with the small encoder, as tests of decoders want it
PRESETS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))


def tiny_preset(name: str, *overrides: str, vocabulary: int = 11) -> Captioner:
    """Return an untrained small captioner of a preset, in evaluation mode, with seeded weights."""
    torch.manual_seed(3)
    built = tiny_captioner(
        f"model={name}",
        "model/encoder=small_cnn",
        "model.encoder.channels=[8,12]",
        *overrides,
        vocabulary=vocabulary,
    )
    return built.eval()


def tiny_captioner(*overrides: str, vocabulary: int = 11, pad_id: int = 0) -> Captioner:
    """Return an untrained small captioner."""
    return build_captioner(tiny_config(*overrides)["model"], Sizes(vocabulary, pad_id))
