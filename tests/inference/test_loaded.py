"""A captioner that takes photos: images are encoded a few at a time, and through a folded copy."""

from __future__ import annotations

import pytest
import torch

from captionlab.core.memory import Memory
from captionlab.inference import loaded as module
from captionlab.inference.loaded import LoadedCaptioner, load_captioner
from captionlab.text.prompts import NO_PROMPT
from serve_support import CHECKPOINTS

LSTM = CHECKPOINTS / "lstm.ckpt"


def encoded_together(loaded: LoadedCaptioner, count: int) -> tuple[Memory, list[int]]:
    """Return the memory of so many images, and how many the encoder saw at a time."""
    seen: list[int] = []
    hook = loaded.captioner.encoder.register_forward_pre_hook(
        lambda encoder, arguments: seen.append(len(arguments[0]))
    )
    size = loaded.captioner.encoder.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), generator=generator).byte()
    with torch.inference_mode():
        memory, _ = loaded.encode(images, [NO_PROMPT] * count)
    hook.remove()
    return memory, seen


def test_as_many_images_are_encoded_together_as_a_cache_takes(monkeypatch: pytest.MonkeyPatch):
    loaded = load_captioner(LSTM)
    whole, seen = encoded_together(loaded, 7)
    assert seen == [7]
    monkeypatch.setattr(module, "ENCODED_PIXELS", 1)  # as if the images were large
    parts, seen = encoded_together(loaded, 7)
    assert seen == [4, 3]
    torch.testing.assert_close(parts.slots, whole.slots)


def test_an_ensemble_makes_no_copy_that_it_would_not_see_through():
    alone, ensemble = load_captioner(LSTM), load_captioner([LSTM, LSTM])
    for one in (alone, ensemble):
        one.fold()
    assert alone.folded is not None
    assert ensemble.folded is None
