"""The likelihood of a caption: what stands for the encoder changes nothing, and no gradients pass it."""

from __future__ import annotations

import torch
from torch import Tensor

from captionlab.applications.explain.likelihood import CaptionLikelihood
from captionlab.core.memory import Memory
from captionlab.inference.loaded import load_captioner
from serve_support import CHECKPOINTS


def test_a_stand_in_sees_for_the_encoder_where_no_gradients_are_asked_for():
    loaded = load_captioner(CHECKPOINTS / "lstm.ckpt")
    size = loaded.captioner.encoder.image_size
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    loaded.fold()
    seen: list[int] = []

    def look(pictures: Tensor) -> Memory:
        assert loaded.folded is not None
        seen.append(len(pictures))
        memory: Memory = loaded.folded(pictures)
        return memory

    rest = {"tokens": [5, 6, 7], "bos_id": loaded.tokenizer.bos_id}
    plain, through = (
        CaptionLikelihood(loaded.captioner, **rest),
        CaptionLikelihood(loaded.captioner, **rest, look=look),
    )
    with torch.inference_mode():
        torch.testing.assert_close(through(pictures), plain(pictures))
    assert seen == [2]
    through(pictures.requires_grad_()).sum().backward()
    assert seen == [2]
