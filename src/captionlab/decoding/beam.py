"""Beam search, batched over images and beams.

Legend: B images, W beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.decoding.constraints import (
    Encode,
    GenerationConstraints,
    LogitsProcessor,
    word_ids,
)
from captionlab.decoding.generated import (
    Generated,
    MemoryT,
    StateT,
    StepModel,
    image_index,
    is_number,
    require_integer,
)
from captionlab.decoding.hypotheses import Backpointers, FinishedHypotheses
from captionlab.decoding.partitions import (
    BeamPartitions,
    BeamSettings,
    ConstrainedBeam,
    DiverseBeam,
)
from captionlab.decoding.unfinished import narrowed, unfinished_images

MOST_FORCED = 5


@dataclass(frozen=True)
class Hypotheses:
    """The beams of the images that are still searched, and the captions that these have so far.

    ``live`` (b,W) log-probabilities, ``token`` (b,W) the last words, ``history`` (b,W,t) all words,
    which are kept only where constraints read them. Before the first word there is one token (b,1).
    """

    live: Tensor
    token: Tensor
    history: Tensor
    best: list[FinishedHypotheses]

    @classmethod
    def begin(cls, partitions: BeamPartitions, images: int, bos_id: int) -> Hypotheses:
        """Return the beams before the first word."""
        live = partitions.init_log_probs(images)
        token = torch.full((images, 1), bos_id, device=live.device)
        best = partitions.init_finished(images)
        return cls(live, token, token[..., None][..., :0], best)

    def following(
        self,
        live: Tensor,
        token: Tensor,
        parents: Tensor,
        best: list[FinishedHypotheses],
        history: Tensor | None,
    ) -> Hypotheses:
        """Return the beams after a word, (b,W) each; ``history`` None where nobody reads it."""
        if history is None:
            return replace(self, live=live, token=token, best=best)
        words = torch.cat([history[image_index(parents), parents], token[..., None]], -1)
        return Hypotheses(live, token, words, best)

    def take(self, images: Tensor) -> Hypotheses:
        """Return the beams of some of the images."""
        best = [part.take(images) for part in self.best]
        return Hypotheses(self.live[images], self.token[images], self.history[images], best)


@dataclass(frozen=True)
class Beam(GenerationConstraints):
    """Keeps the ``beam_size`` most probable hypotheses at every step (Sutskever 2014, section 3.2).

    At each step the ``beam_size`` best one-token extensions of the live hypotheses survive; those
    that end with eos leave the beam for the finished captions and their places are open again at
    the next step. At ``max_length`` tokens (eos counted) the live ones are cut, without eos, and
    compete as they are. One beam is greedy decoding.

    ``length_penalty`` a ranks by log-probability / length**a: 0 is the plain log-probability, 1 its
    mean a token, and more favors longer captions. The search of an image stops when no live
    hypothesis can still enter its ``num_captions`` best, which changes no result.

    ``groups`` above 1 is diverse beam search (Vijayakumar 2016): the beams are dealt to groups that
    search one after the other, and a word that earlier groups took at this step costs
    ``diversity`` for each time; scores stay those of the model.

    ``forced_words`` must all stand in a caption, in any order (constrained beam search, Anderson et
    al. 2017); a list among them asks for one of its words. Each set of them that may be fulfilled
    has ``beam_size`` beams of its own, 2^n in all. Where no caption within ``max_length`` holds
    them all, one that holds most of them is given. UserError for a value that cannot be.
    """

    beam_size: int = 3
    length_penalty: float = 0.5
    num_captions: int = 1
    groups: int = 1
    diversity: float = 0.5
    forced_words: Sequence[str | Sequence[str]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("groups", self.groups, at_least=1)
        if not is_number(self.diversity) or self.diversity < 0:
            raise UserError(f"decoding.diversity={self.diversity!r} must be a number of at least 0")
        require_integer("beam_size", self.beam_size, at_least=1)
        require_integer("num_captions", self.num_captions, at_least=1)
        if self.num_captions > self.beam_size:
            raise UserError(
                f"decoding.num_captions={self.num_captions} must not exceed "
                f"decoding.beam_size={self.beam_size}"
            )
        if self.beam_size % self.groups or self.num_captions % self.groups:
            raise UserError(
                f"decoding.groups={self.groups} must divide decoding.beam_size={self.beam_size} and "
                f"decoding.num_captions={self.num_captions}: each group brings as many captions"
            )
        self._check_forced()
        if not is_number(self.length_penalty) or abs(self.length_penalty) > 10:
            raise UserError(
                f"decoding.length_penalty={self.length_penalty!r} must be a number from -10 to 10"
            )

    def _check_forced(self) -> None:
        words = self.forced_words
        if isinstance(words, str):
            raise UserError(f"decoding.forced_words={words!r} must be a list of words")
        if len(words) > MOST_FORCED:
            raise UserError(
                f"decoding.forced_words has {len(words)} words, and each doubles the beams: "
                f"{MOST_FORCED} is the most"
            )
        if words and self.groups > 1:
            raise UserError(
                "decoding.forced_words and decoding.groups cannot be had together: say "
                "decoding.groups=1"
            )

    @torch.no_grad()
    def __call__(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int] = (),
        encode: Encode | None = None,
    ) -> Generated:
        """Return the W=num_captions best captions an image; none holds bos, pad or a banned id.

        ``scores`` are the log-probabilities divided by length**length_penalty.
        """
        device = memory.pooled.device
        processor = self.logits_processor(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
            encode=encode,
            device=device,
        )
        partitions = self.partitions(encode, banned_ids, device)
        best, backpointers = self._search(model, memory, partitions, processor, bos_id)
        return backpointers.captions(partitions.merge(best), pad_id)

    def _search(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        partitions: BeamPartitions,
        processor: LogitsProcessor,
        bos_id: int,
    ) -> tuple[list[FinishedHypotheses], Backpointers]:
        """Return the finished captions of each partition, and how they came about."""
        hypotheses = Hypotheses.begin(partitions, len(memory.pooled), bos_id)
        # beams are alike before the first word: one is read for all
        state = model.init_state(memory, 1)
        found, images = hypotheses.best, None
        backpointers = Backpointers()
        for step in range(self.max_length):
            logits, state = model.step(hypotheses.token, state)
            history = hypotheses.history if processor.needs_history else None
            allowed = processor(logits.log_softmax(-1, dtype=torch.float32), step, history)
            log_probs, parents, token = partitions.extend(hypotheses.live, allowed)
            if step == 0:
                parents = torch.zeros_like(parents)
            backpointers.add(token, parents, state.weights, images)
            last = step + 1 == self.max_length
            ended = torch.ones_like(token).bool() if last else token == processor.eos_id
            live, best = partitions.update_finished(log_probs, ended, step + 1, hypotheses.best)
            hypotheses = hypotheses.following(live, token, parents, best, history)
            rest = unfinished_images(step, live > -torch.inf)
            if rest is not None or last:
                found = _put(found, images, best)
            if last or (rest is not None and not len(rest)):
                break
            if rest is not None:
                hypotheses, state, parents = hypotheses.take(rest), state.take(rest), parents[rest]
                images = narrowed(images, rest)
            state = state.select(parents)
        return found, backpointers

    def partitions(
        self, encode: Encode | None, unknown: Sequence[int], device: torch.device
    ) -> DiverseBeam | ConstrainedBeam:
        """Return the parts of the beam that search apart: groups, or states of the forced words."""
        settings = BeamSettings(
            self.beam_size, self.num_captions, self.length_penalty, self.max_length
        )
        if not self.forced_words:
            return DiverseBeam(settings, device, self.groups, self.diversity)
        return ConstrainedBeam(settings, device, self.forced_ids(encode, unknown))

    def forced_ids(self, encode: Encode | None, unknown: Sequence[int]) -> list[list[int]]:
        """Return the ids of each forced word and its alternatives.

        Raises:
            UserError: for a word that the vocabulary lacks, or that is forbidden as well.
        """
        either = [[word] if isinstance(word, str) else list(word) for word in self.forced_words]
        for word in (word for words in either for word in words):
            if word in self.forbidden_words:
                raise UserError(f"decoding.forced_words has {word!r}, which is forbidden as well")
        return [word_ids("forced_words", words, encode, unknown) for words in either]


def _put(
    found: list[FinishedHypotheses], images: Tensor | None, best: list[FinishedHypotheses]
) -> list[FinishedHypotheses]:
    """Return each partition's captions of the batch with those of some images, None for all."""
    if images is None:
        return best
    return [every.put(images, own) for every, own in zip(found, best, strict=True)]
