"""Captions that begin after given tokens: any model, any decoding method.

Legend: B images, W hypotheses an image, N memory slots, P tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.decoding.generated import Generated, MemoryT, StateT, StepModel, longest


@dataclass(frozen=True)
class PromptedState(Generic[StateT]):
    """The model's state, and the prompt's last tokens (B,1) until the first step has read them."""

    inner: StateT
    unread: Tensor | None

    @property
    def weights(self) -> Tensor | None:
        """Where the model looked at its last step (B,W,N), or None."""
        return self.inner.weights

    def select(self, indices: Tensor) -> PromptedState[StateT]:
        """Return the state whose hypothesis w of image b continues the old ``indices[b, w]``."""
        return replace(self, inner=self.inner.select(indices))

    def take(self, images: Tensor) -> PromptedState[StateT]:
        """Return the state of the images with these indices, in this order."""
        unread = None if self.unread is None else self.unread[images]
        return PromptedState(self.inner.take(images), unread)


class Prompted(Generic[MemoryT, StateT]):
    """A model that has read bos and a prompt before its first step; for it a ``StepModel``.

    A decoding method begins every caption with bos, so the first step reads the prompt's last token
    instead. The prompt is read once an image, whatever the number of hypotheses.

    Args:
        prompts: (B,P) int64, P at least 1, no padding. bos_id: what stands before them.
    """

    def __init__(self, model: StepModel[MemoryT, StateT], prompts: Tensor, bos_id: int) -> None:
        self._model = model
        self._prompts = prompts
        self._before = F.pad(prompts[:, :-1], (1, 0), value=bos_id)  # (B,P)

    def init_state(self, memory: MemoryT, width: int) -> PromptedState[StateT]:
        """Return the state after the prompt but for its last token, for ``width`` hypotheses."""
        state = self._read(self._model.init_state(memory, 1), 1)
        first = torch.zeros(
            len(self._prompts), width, dtype=torch.long, device=self._prompts.device
        )
        return PromptedState(state.select(first), self._prompts[:, -1:])

    def sample_init_state(
        self,
        memory: MemoryT,
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> PromptedState[StateT]:
        """Return the same, with what is random about the model drawn for each hypothesis."""
        draw: Callable[..., StateT] | None = getattr(self._model, "sample_init_state", None)
        if draw is None:
            return self.init_state(memory, width)
        state = self._read(draw(memory, width, generator, seeds), width)
        return PromptedState(state, self._prompts[:, -1:])

    def step(
        self, token_ids: Tensor, state: PromptedState[StateT]
    ) -> tuple[Tensor, PromptedState[StateT]]:
        """Return logits (B,W,V) of the token after ``token_ids`` (B,W), and the next state."""
        if state.unread is not None:
            token_ids = state.unread.expand_as(token_ids).contiguous()
        logits, inner = self._model.step(token_ids, state.inner)
        return logits, PromptedState(inner, None)

    def _read(self, state: StateT, width: int) -> StateT:
        for token in self._before.unbind(1):
            _, state = self._model.step(token.unsqueeze(1).expand(-1, width).contiguous(), state)
        return state


def decode_prompted(
    decoding: Callable[..., Generated],
    model: StepModel[MemoryT, StateT],
    memory: MemoryT,
    prompts: Sequence[Sequence[int]],
    *,
    noise: Tensor | None = None,
    **ids: Any,
) -> Generated:
    """Return the captions that follow the prompts' ids, one prompt an image; an empty one is none.

    ``noise`` (B,...) goes to a sampling method; ``ids`` are what every method takes, with bos_id and
    pad_id among them.
    """
    if not any(prompts):
        return decoding(model, memory, **ids, **({} if noise is None else {"noise": noise}))
    groups = []
    for images, tokens in by_length(prompts, memory.pooled.device):
        prompted: Any = Prompted(model, tokens, ids["bos_id"]) if tokens.shape[1] else model
        drawn = {} if noise is None else {"noise": noise[images.cpu()]}
        groups.append((images, decoding(prompted, memory.take(images), **ids, **drawn)))
    return groups[0][1] if len(groups) == 1 else merged(groups, ids["pad_id"])


def prompt_lists(prompts: Tensor, pad_id: int) -> list[list[int]]:
    """Return the ids of prompts (B,P), without the padding behind them."""
    return [[i for i in row if i != pad_id] for row in prompts.tolist()]


def by_length(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images (b,) whose prompts are of one length P, and those prompts (b,P).

    A batch is decoded by such groups: each hypothesis then begins at the same step, in a state
    without padding, and its caption is what it is alone.
    """
    for length in sorted({len(prompt) for prompt in prompts}):
        images = [b for b, prompt in enumerate(prompts) if len(prompt) == length]
        ids = torch.tensor([list(prompts[b]) for b in images], dtype=torch.long, device=device)
        yield torch.tensor(images, device=device), ids.view(len(images), length)


def merged(groups: Sequence[tuple[Tensor, Generated]], pad_id: int) -> Generated:
    """Return one result of those of groups of images, each with its images' places in the batch."""
    length = max(longest(part.lengths) for _, part in groups)
    order = torch.cat([images for images, _ in groups]).argsort()

    def joined(tensors: list[Tensor], value: int | None = None) -> Tensor:
        if value is not None:  # (b,W,T,...), whose T differ
            tensors = [_lengthened(tensor, length, value) for tensor in tensors]
        return torch.cat(tensors)[order]

    parts = [part for _, part in groups]
    weights = [part.weights for part in parts if part.weights is not None]
    return Generated(
        tokens=joined([part.tokens for part in parts], pad_id),
        lengths=joined([part.lengths for part in parts]),
        scores=joined([part.scores for part in parts]),
        log_probs=joined([part.log_probs for part in parts]),
        weights=joined(weights, 0) if weights else None,
    )


def _lengthened(tensor: Tensor, length: int, value: int) -> Tensor:
    missing = length - tensor.shape[2]
    return F.pad(tensor, (*[0, 0] * (tensor.dim() - 3), 0, missing), value=value)
