"""Small parts that several tests build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from captionlab.build import Sizes, build_captioner
from captionlab.config.compose import compose, config_dir
from captionlab.config.resolve import resolve
from captionlab.models.captioner import Captioner
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from captionlab.text.tokenizers import SubwordTokenizer

# seconds after which a process is thought to hang; it decides no result, however busy the machine
HANG = 900

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


# what a preset needs besides to be small
_SMALL_GPT2 = (
    "data/tokenizer=word",
    "model.decoder.weights=null",
    "model.decoder.architecture={model_type:gpt2,n_layer:2,n_embd:16,n_head:2}",
    "model.decoder.trainable=all",
)
_SMALL_LAYERS = (
    "hidden_size:12,num_hidden_layers:2,num_attention_heads:2,intermediate_size:24,image_size:32"
)
SMALLER = {
    "gpt2": _SMALL_GPT2,
    "prefix": (
        *_SMALL_GPT2,
        "model.decoder.prefix_length=3",
        "model.decoder.mapping_layers=1",
        "model.decoder.mapping_heads=2",
    ),
    "huggingface_captioner": (
        "data/tokenizer=word",
        "model.decoder.weights=null",
        "model.decoder.architecture={model_type:blip,"
        f"vision_config:{{{_SMALL_LAYERS}}},text_config:{{{_SMALL_LAYERS}}}}}",
    ),
}
# every preset that learns, with the small encoder, as tests of decoders want it; nearest has its own,
# and retrieval is gpt2 behind captions that only a run's index has
PRESETS = sorted(
    {path.stem for path in (config_dir() / "model").glob("*.yaml")} - {"nearest", "retrieval"}
)


def tiny_preset(name: str, *overrides: str, vocabulary: int = 11) -> Captioner:
    """Return an untrained small captioner of a preset, in evaluation mode, with seeded weights."""
    torch.manual_seed(3)
    built = tiny_captioner(
        f"model={name}",
        "model/encoder=small_cnn",
        "model.encoder.channels=[8,12]",
        *SMALLER.get(name, ()),
        *overrides,
        vocabulary=vocabulary,
    )
    return built.eval()


def tiny_captioner(*overrides: str, vocabulary: int = 11, pad_id: int = 0) -> Captioner:
    """Return an untrained small captioner."""
    return build_captioner(tiny_config(*overrides)["model"], Sizes(vocabulary, pad_id))


def save_gpt2(folder: Path, captions: list[str]) -> Path:
    """Save a small GPT-2 with random weights and a tokenizer of its own as transformers does."""
    import transformers

    torch.manual_seed(0)
    pieces = SubwordTokenizer.fit(captions, size=300)._pieces
    pieces.add_special_tokens(["<|endoftext|>"])
    end = pieces.get_vocab_size() - 1
    edges = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, **edges).save_pretrained(folder)
    sizes = {"n_layer": 3, "n_embd": 16, "n_head": 2, "n_positions": 64, "vocab_size": end + 1}
    config = transformers.GPT2Config(bos_token_id=end, eos_token_id=end, **sizes)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


class Counting(Reward):
    """A caption's reward is how many of its words are word 5."""

    def __init__(self) -> None:
        self.weights = {"cider": 1.0}

    def prepare(self, text: TrainingText) -> None:
        self.text = text

    def __call__(self, image_ids, captions):
        found = np.array([float(ids.count(5)) for ids in captions])
        return {"cider": found, "reward": found}
