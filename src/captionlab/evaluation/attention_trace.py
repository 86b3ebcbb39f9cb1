"""Where a model looked for each word of a caption.

Legend: B images, W captions an image, T words, N memory slots.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor

from captionlab.decoding.generated import Generated
from captionlab.text.tokenizers import Tokenizer


class AttentionTrace(NamedTuple):
    """The words of a caption, and the attention over the memory slots for each."""

    words: list[str]
    weights: Tensor  # (T,N) float32, on the CPU


def attention_traces(
    generated: Generated,
    image_ids: Sequence[int | str],
    tokenizer: Tokenizer,
    kept: Collection[int | str],
) -> dict[int | str, AttentionTrace]:
    """Return the traces of the best captions of the images in ``kept``; none without attention."""
    traces: dict[int | str, AttentionTrace] = {}
    if generated.weights is None:
        return traces
    for row, image_id in enumerate(image_ids):
        if image_id in kept:
            ids = generated.tokens[row, 0, : int(generated.lengths[row, 0])].tolist()
            ids = [i for i in ids if i != tokenizer.eos_id]
            weights = generated.weights[row, 0, : len(ids)].float().cpu()
            traces[image_id] = AttentionTrace([tokenizer.decode([i]) for i in ids], weights)
    return traces
