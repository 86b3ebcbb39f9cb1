"""What captions are sampled for: images, or each prompt of an image by itself.

Legend: B images, K captions an image, P tokens of a prompt, R what is sampled for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated, MemoryT, StepModel
from captionlab.decoding.prompted import decode_prompted, prompt_lists
from captionlab.objectives.base import Batch


class PromptedImages(NamedTuple):
    """The R things that captions are sampled for, with a memory (R, ...) and an id each.

    ``prompts`` (R,1,P): the ids that are given before each caption, then padding; None where nothing
    is given, and R is B.
    """

    memory: Memory
    image_ids: Sequence[int | str]
    prompts: Tensor | None

    def sample(
        self,
        decoding: Any,
        model: StepModel[MemoryT, Any],
        memory: MemoryT,
        pad_id: int,
        **ids: Any,
    ) -> Generated:
        """Return the captions of a decoding method, each behind its prompt."""
        given: list[list[int]] = [[]] * len(self.image_ids)
        if self.prompts is not None:
            given = prompt_lists(self.prompts[:, 0], pad_id)
        return decode_prompted(decoding, model, memory, given, pad_id=pad_id, **ids)


def prompted_images(memory: Memory, batch: Batch) -> PromptedImages:
    """Return what captions are sampled for: each different prompt of the batch's captions."""
    if batch.prompts is None:
        return PromptedImages(memory, batch.image_ids, None)
    assert batch.scored_ids is not None
    # of each image and id the first caption that has it, in the order of the batch
    first: dict[tuple[int, int | str], tuple[int, int]] = {}
    for b, own in enumerate(batch.scored_ids):
        for k, scored_id in enumerate(own):
            first.setdefault((b, scored_id), (b, k))
    ordered = list(first.values())
    rows = torch.tensor([b for b, _ in ordered], device=batch.prompts.device)
    columns = torch.tensor([k for _, k in ordered], device=batch.prompts.device)
    ids = [batch.scored_ids[b][k] for b, k in ordered]
    return PromptedImages(memory.take(rows), ids, batch.prompts[rows, columns].unsqueeze(1))
