"""Several captioners that write one caption together.

Legend: B images, W hypotheses an image, N memory slots, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding.generated import MemoryT, StateT, StepModel


@dataclass(frozen=True)
class EnsembleMemory(Generic[MemoryT]):
    """What each member knows of the images."""

    members: tuple[MemoryT, ...]

    @property
    def pooled(self) -> Tensor:
        """The first member's vector of each image, (B,D)."""
        return self.members[0].pooled

    def take(self, images: Tensor) -> EnsembleMemory[MemoryT]:
        """Return the memory of the images with these indices, in this order."""
        return EnsembleMemory(tuple(member.take(images) for member in self.members))


@dataclass(frozen=True)
class EnsembleState(Generic[StateT]):
    """The members' states."""

    members: tuple[StateT, ...]

    @property
    def weights(self) -> Tensor | None:
        """The mean of where the members looked (B,W,N); None if one does not look, or N differ."""
        weights = [state.weights for state in self.members if state.weights is not None]
        if len(weights) < len(self.members) or len({w.shape for w in weights}) > 1:
            return None
        return torch.stack(weights).mean(0)

    def select(self, indices: Tensor) -> EnsembleState[StateT]:
        """Return the state whose hypothesis w of image b continues the old ``indices[b, w]``."""
        return EnsembleState(tuple(state.select(indices) for state in self.members))

    def take(self, images: Tensor) -> EnsembleState[StateT]:
        """Return the state of the images with these indices, in this order."""
        return EnsembleState(tuple(state.take(images) for state in self.members))


class EnsembleMember(StepModel[MemoryT, StateT], Protocol[MemoryT, StateT]):
    """A model that can write with others."""

    def encode(self, images: Tensor | Memory) -> MemoryT:
        """Return what it sees of the images."""
        ...


class Ensemble(Generic[MemoryT, StateT]):
    """Captioners of one vocabulary, of any architectures, as one ``StepModel``.

    The probability of a word is the mean of the members' (Vinyals et al. 2016, section 4.3.4).
    Raises UserError for an empty ensemble.
    """

    def __init__(self, members: Sequence[EnsembleMember[MemoryT, StateT]]) -> None:
        if not members:
            raise UserError("an ensemble needs at least one captioner")
        self.members = tuple(members)

    def encode(self, images: Tensor | Memory) -> EnsembleMemory[MemoryT]:
        """Return what each member sees of the images."""
        return EnsembleMemory(tuple(member.encode(images) for member in self.members))

    def init_state(self, memory: EnsembleMemory[MemoryT], width: int) -> EnsembleState[StateT]:
        """Return the members' states before the first token."""
        pairs = zip(self.members, memory.members, strict=True)
        return EnsembleState(tuple(member.init_state(own, width) for member, own in pairs))

    def sample_init_state(
        self,
        memory: EnsembleMemory[MemoryT],
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> EnsembleState[StateT]:
        """Return the same, with what is random about a member drawn for each hypothesis."""
        states = []
        for member, own in zip(self.members, memory.members, strict=True):
            drawn = getattr(member, "sample_init_state", None)
            states.append(
                member.init_state(own, width)
                if drawn is None
                else drawn(own, width, generator, seeds)
            )
        return EnsembleState(tuple(states))

    def step(
        self, token_ids: Tensor, state: EnsembleState[StateT]
    ) -> tuple[Tensor, EnsembleState[StateT]]:
        """Return the logarithm of the mean probabilities (B,W,V), and the next states."""
        log_probs, states = [], []
        for member, own in zip(self.members, state.members, strict=True):
            logits, following = member.step(token_ids, own)
            log_probs.append(logits.float().log_softmax(-1))
            states.append(following)
        mean = torch.stack(log_probs).logsumexp(0) - math.log(len(log_probs))
        return mean, EnsembleState(tuple(states))
