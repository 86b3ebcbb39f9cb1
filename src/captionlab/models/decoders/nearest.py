"""The decoder that writes nothing of its own: it says a caption of images like this one.

Legend: B images, K captions an image, W beams, T tokens, R ranked captions, L tokens of the longest
ranked one, M rows of any shape, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.core.special_tokens import SpecialTokens
from captionlab.models.attention.base import NoAttention
from captionlab.models.captioner import Decoded
from captionlab.models.retrieval.consensus import Consensus, Score
from captionlab.models.retrieval.index import CaptionIndex
from captionlab.models.state import PER_BEAM, State

RANKED = 16  # captions an image that can be written at all
RANK_PENALTY = 4.0  # nats between one and the next: no length penalty turns them around
MOST_CANDIDATES = 8_000  # each is compared with each other: some 2 GB
ELSEWHERE = 1e-6  # probability of all other words, so that every caption has a likelihood


class RankedCaptions(NamedTuple):
    """The captions of each image, the one in best consensus first."""

    tokens: Tensor  # (B,R,L) int64 with eos, then padding
    lengths: Tensor  # (B,R) int64 with eos, 0 where there are fewer


@dataclass(frozen=True, kw_only=True)
class NearestState(State):
    """Which of the image's captions a beam is writing.

    ``ranked`` belongs to the image; ``alive`` (B,W,R) says which captions begin like the beam;
    ``position`` is how many words it has.
    """

    ranked: RankedCaptions
    alive: Tensor = field(metadata=PER_BEAM)
    position: int = 0


class NearestDecoder(nn.Module):
    """The consensus caption of the nearest training images (Devlin et al. 2015): nothing is trained.

    The ``neighbors`` images whose pooled vectors are nearest by cosine give their captions as
    candidates; that one is written which is most similar, by ``score``, to the ``consensus``
    candidates most similar to it. A candidate with an unknown word has a voice and is not written.
    As a distribution over words it follows the ``RANKED`` best captions, each e^4 times as probable
    as the next: any decoding writes the first, beams with ``num_captions`` list them in order, and
    what no caption says has a millionth of the probability. ``index`` are the sizes of the index
    that a run has filled. ``attention`` must be NoAttention.

    Raises:
        UserError: for values outside their range.
    """

    reads_slots = False
    learns = False
    attention_penalty = 0.0
    output_dim = 2 * RANKED

    def __init__(
        self,
        *,
        neighbors: int = 90,
        consensus: int = 125,
        score: Score = "cider",
        index: list[int] | None = None,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        pooled_dim: int | None = None,
        attention: nn.Module,
    ) -> None:
        super().__init__()
        if not isinstance(attention, NoAttention):
            raise UserError(
                f"nearest neighbors attend to nothing, and {type(attention).__name__} was given: "
                "say model/attention=none"
            )
        for key, value in {"neighbors": neighbors, "consensus": consensus}.items():
            if value < 1:
                raise UserError(f"{key}={value} must be at least 1")
        if score not in get_args(Score):
            raise UserError(f"score={score!r}: {did_you_mean(str(score), get_args(Score))}")
        self.neighbors = neighbors
        self.consensus = consensus
        self.score: Score = score
        self.vocabulary_size = vocabulary_size
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.pooled_dim = memory_dim if pooled_dim is None else pooled_dim
        self.index = CaptionIndex(
            self.pooled_dim, index or (0, 0, 0), vocabulary_size=vocabulary_size
        )
        self._consensus: tuple[object, Consensus] | None = None  # of this state of the index
        # of these pooled vectors, by this state of the index
        self._last: tuple[Tensor, object, RankedCaptions] | None = None

    @torch.no_grad()
    def retrieve(self, memory: Memory) -> RankedCaptions:
        """Return the captions of images like those of a memory.

        Raises:
            UserError: where no training image has been looked at, the memory is of another width, or
                the neighbors have too many captions.
        """
        memory.require_width(self.memory_dim, "decoder", self.pooled_dim)
        # captions of a batch are written and scored, from one memory
        if self._last is None or self._last[0] is not memory.pooled or self._last[1] != self._key:
            found = self.index.nearest(memory.pooled, self.neighbors)
            best = [self._ranked(images) for images in found.images]
            stacked = self._stacked(best, memory.pooled.device)
            self._last = memory.pooled, self._key, stacked
        return self._last[2]

    @property
    def _key(self) -> object:
        return self.index.version, self.index.tokens.device

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B,K,T,2R) of inputs (B,K,T): the next words, and their weights."""
        ranked, _ = self._reaching(self.retrieve(memory), tokens.shape[-1])
        said = tokens[..., 1:].unsqueeze(-1)
        same = (ranked[:, None, : said.shape[2]] == said).long().cumprod(2).bool()
        begun = same.new_ones(*tokens.shape[:2], 1, RANKED)
        alive = torch.cat([begun, same], 2)
        following = ranked[:, None, : tokens.shape[-1]].expand(*tokens.shape, RANKED)
        return Decoded(_hidden(following, alive))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return log-probabilities (M,V) of hidden (M,2R)."""
        following, weight = hidden[..., :RANKED].long(), hidden[..., RANKED:].exp()
        total = weight.sum(-1, keepdim=True)
        share = torch.where(total > 0, weight / total.clamp_min(1e-30), 0.0) * (1 - ELSEWHERE)
        rest = (1 - share.sum(-1, keepdim=True)) / self.vocabulary_size
        words = rest.expand(*hidden.shape[:-1], self.vocabulary_size)
        return words.scatter_add(-1, following.clamp_min(0), share).log()

    def init_state(self, memory: Memory, width: int) -> NearestState:
        """Return the state before the first token, for ``width`` beams an image."""
        ranked = self.retrieve(memory)
        alive = (ranked.lengths > 0).unsqueeze(1).expand(-1, width, -1)
        return NearestState(memory=memory, ranked=ranked, alive=alive)

    def step(self, token_ids: Tensor, state: NearestState) -> tuple[Tensor, NearestState]:
        """Return logits (B,W,V) of the word after ``token_ids`` (B,W), and the next state."""
        position, alive = state.position, state.alive
        ranked, _ = self._reaching(state.ranked, position + 1)
        if position:
            alive = alive & (ranked[:, None, position - 1] == token_ids.unsqueeze(-1))
        following = ranked[:, None, position].expand_as(alive)
        logits = self.logits(_hidden(following, alive))
        return logits, replace(state, alive=alive, position=position + 1)

    def _reaching(self, ranked: RankedCaptions, length: int) -> tuple[Tensor, Tensor]:
        """Return captions as (B,L',R), L' at least ``length``, -1 behind their ends; and lengths."""
        tokens = ranked.tokens
        steps = torch.arange(tokens.shape[-1], device=tokens.device)
        tokens = tokens.masked_fill(steps >= ranked.lengths.unsqueeze(-1), -1)
        missing = max(0, length - tokens.shape[-1])
        return F.pad(tokens, (0, missing), value=-1).transpose(1, 2), ranked.lengths

    def _ranked(self, images: Tensor) -> list[tuple[int, ...]]:
        """Return the best different captions of neighbors (k,) as ids, at most R."""
        if self._consensus is None or self._consensus[0] != self._key:
            self._consensus = self._key, Consensus(self.index)
        numbers = self.index.captions_of(images)
        if len(numbers) > MOST_CANDIDATES:
            raise UserError(
                f"the {len(images):,} nearest images have {len(numbers):,} captions, and each is compared "
                f"with each other, of {MOST_CANDIDATES:,} at most: lower model.decoder.neighbors"
            )
        order = self._consensus[1].best(numbers, score=self.score, count=self.consensus)
        best: dict[tuple[int, ...], None] = {}  # in their order
        for number in numbers[order].tolist():
            caption = tuple(self.index.caption(number).tolist())
            if caption and SpecialTokens.UNK not in caption:
                best[caption] = None
            if len(best) == RANKED:
                break
        return list(best)

    def _stacked(
        self, best: Sequence[Sequence[tuple[int, ...]]], device: torch.device
    ) -> RankedCaptions:
        longest = max((len(c) for captions in best for c in captions), default=0) + 1
        tokens = torch.full((len(best), RANKED, longest), self.pad_id)
        lengths = torch.zeros(len(best), RANKED, dtype=torch.long)
        for b, captions in enumerate(best):
            for r, caption in enumerate(captions):
                lengths[b, r] = len(caption) + 1
                tokens[b, r, : lengths[b, r]] = torch.tensor([*caption, SpecialTokens.EOS])
        return RankedCaptions(tokens.to(device), lengths.to(device))


def _hidden(following: Tensor, alive: Tensor) -> Tensor:
    """Return hidden (...,2R) of the next words (...,R), -1 for none, of captions that are alive.

    The words' ids as numbers, which float32 holds exactly, and the logarithms of their weights.
    """
    rank = torch.arange(following.shape[-1], device=following.device)
    weight = (-RANK_PENALTY * rank).expand(following.shape)
    weight = weight.masked_fill(~alive | (following < 0), -torch.inf)
    return torch.cat([following.float(), weight], -1)
