"""Captions of a split generated and scored: in validation, in the test, and of any checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from captionlab.core.distributed import all_gather_object, broadcast_tensors
from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding.captions import Decoding, all_captions, captions_each, generate
from captionlab.decoding.ensemble import Ensemble, EnsembleMember, EnsembleMemory
from captionlab.decoding.generated import Generated, MemoryT
from captionlab.decoding.prompted import prompt_lists
from captionlab.decoding.sampling import Sampling, noise_of
from captionlab.evaluation.attention_trace import AttentionTrace, attention_traces
from captionlab.metrics.bootstrap import Statistic
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.metrics.split_scorer import Scores
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import caption_nll
from captionlab.models.tags import mean_average_precision
from captionlab.text.tokenizers import Tokenizer

ImageId = int | str
T = TypeVar("T")
Prompts = list[list[int]] | None  # the ids that are given before each caption; None for none


class Evaluator:
    """Generates the captions of a split batch by batch, and scores each image once.

    On several processes each takes its part of the split; ``start`` and ``compute`` must then be
    called by all, and give all the same. It holds captioners without owning them: who trains them
    puts them into evaluation mode and onto their device.

    Args:
        captioners: one, or several that write together (``decoding.ensemble``).
        decoding: from a memory to captions. tokenizer: of all captioners.
        metrics: scores captions; closed with the evaluator.
        samples: captions drawn an image for scores of diversity, where the decoding gives one; 0
            for none.
    """

    def __init__(
        self,
        captioners: Sequence[Captioner],
        *,
        decoding: Decoding,
        tokenizer: Tokenizer,
        metrics: CaptionMetrics,
        samples: int = 0,
    ) -> None:
        self.captioners = tuple(captioners)
        self.decoding = decoding
        self.metrics = metrics
        self.results: dict[str, dict[str, float]] = {}
        """Corpus scores by split, as they were computed last."""
        self.scores: dict[str, Scores] = {}
        """The same with the captions, the scores of each image and the statistics of intervals."""
        self.traces: dict[ImageId, AttentionTrace] = {}
        """Where the captioner looked in the images of ``keep_attention``, of the last split."""
        self._tokenizer = tokenizer
        self._samples = samples
        self._ensemble = Ensemble(self.captioners)
        self._kept: frozenset[ImageId] = frozenset()
        self._nll: dict[ImageId, tuple[float, int]] = {}  # nats, tokens
        self._tags: dict[ImageId, tuple[Tensor, Tensor]] = {}  # scores (G,), targets (G,)
        self._traces: dict[ImageId, AttentionTrace] = {}

    @property
    def captioner(self) -> Captioner:
        """The first of the captioners: the one whose tags are scored."""
        return self.captioners[0]

    @property
    def several_captions(self) -> bool:
        """Whether several captions of each image are scored: the decoding's own, or samples."""
        return self._samples > 1 or captions_each(self.decoding) > 1

    def score_names(self) -> set[str]:
        """Return the names of the scores that ``compute`` will give."""
        names = {*self.metrics.names(sets=self.several_captions), "loss"}
        return names if self.captioner.tags is None else {*names, "tags_map"}

    def keep_attention(self, image_ids: Collection[ImageId]) -> None:
        """Keep where the captioner looks in these images, from the next ``update`` on."""
        self._kept = frozenset(image_ids)

    def start(self) -> None:
        """Give every process the same captioner.

        Batch norm's running statistics follow what a process has seen; without this the processes
        would evaluate slightly different models, and not the one that the checkpoint holds.
        """
        for captioner in self.captioners:
            broadcast_tensors(captioner.buffers())

    def update(self, batch: CaptionBatch) -> None:
        """Generate and collect the captions of a batch, and the likelihood of its references."""
        memories, prompts = encode_batch(self._ensemble, batch, self._tokenizer.pad_id)
        captions, generated = self._generate(memories, self.decoding, prompts)
        self._traces |= attention_traces(generated, batch.image_ids, self._tokenizer, self._kept)
        sets = self._caption_sets(memories, generated, batch.image_ids, prompts)
        self.metrics.update(batch.image_ids, captions, batch.references, sets)
        nll, tokens = caption_nll(self.captioners, memories.members, batch)
        pairs = zip(nll.tolist(), tokens.tolist(), strict=True)
        self._nll.update(zip(batch.image_ids, pairs, strict=True))
        if (tags := self.captioner.tags) is not None:
            scores = tags(memories.members[0]).float().cpu()
            targets = tags.targets(batch.tokens).cpu()
            self._tags.update(zip(batch.image_ids, zip(scores, targets, strict=True), strict=True))

    def compute(self, split: str) -> dict[str, float]:
        """Score what was collected since ``reset``, under a split's name; then reset.

        Returns:
            The corpus scores, the same on every process; ``results``, ``scores`` and ``traces``
            hold them and the rest.

        Raises:
            UserError: if there is no caption to score.
        """
        scores = self.metrics.compute()
        nll = np.array(list(merge_across_ranks(self._nll).values()), dtype=np.float64)
        results = {**scores.corpus, "loss": float(nll[:, 0].sum() / max(1.0, nll[:, 1].sum()))}
        scores.statistics["loss"] = Statistic(nll, "ratio")
        if self.captioner.tags is not None:
            results["tags_map"] = tags_map(self._tags)
        self.traces = merge_across_ranks(self._traces)
        self.scores[split], self.results[split] = scores, results
        self.reset()
        return results

    def reset(self) -> None:
        """Forget what was collected and not scored."""
        self.metrics.reset()
        self._nll.clear()
        self._tags.clear()
        self._traces.clear()

    def close(self) -> None:
        """End the process of METEOR; a later ``compute`` goes without it."""
        self.metrics.close()

    def _generate(
        self,
        memories: EnsembleMemory[Memory],
        decoding: Decoding,
        prompts: Prompts,
        noise: Tensor | None = None,
    ) -> tuple[list[str], Generated]:
        rest = (decoding, self._tokenizer, prompts, noise)
        if len(self.captioners) > 1:
            return generate(self._ensemble, memories, *rest)
        return generate(self.captioner, memories.members[0], *rest)

    def _caption_sets(
        self,
        memories: EnsembleMemory[Memory],
        generated: Generated,
        image_ids: Sequence[ImageId],
        prompts: Prompts,
    ) -> list[list[str]] | None:
        """Return several captions of each image: those of the decoding, or else random ones."""
        if generated.tokens.shape[1] == 1:
            if self._samples < 2:
                return None
            length = getattr(self.decoding, "max_length", Sampling.max_length)
            # an image's draws are its own: the same in every epoch, and on any number of devices
            sampling = Sampling(num_samples=self._samples, max_length=length)
            noise = noise_of(image_ids, self._samples, length)
            _, generated = self._generate(memories, sampling, prompts, noise)
        return [[text for text, _ in one] for one in all_captions(generated, self._tokenizer)]


def encode_batch(
    model: EnsembleMember[MemoryT, Any], batch: CaptionBatch, pad_id: int
) -> tuple[MemoryT, Prompts]:
    """Return what a model sees of each caption's image, and the ids that are given before the caption.

    One prompt stands for all captions of an image.
    """
    memory = model.encode(batch.images)
    if batch.rows is not None:
        memory = memory.take(batch.rows)
    given = None if batch.prompts is None else prompt_lists(batch.prompts[:, 0], pad_id)
    return memory, given


def merge_across_ranks(per_image: Mapping[ImageId, T]) -> dict[ImageId, T]:
    """Return what all ranks have, each image once and in one order whatever the number of ranks."""
    merged: dict[ImageId, T] = {}
    for part in reversed(all_gather_object(per_image)):
        merged.update(part)
    return {key: merged[key] for key in sorted(merged, key=str)}


def tags_map(per_image: Mapping[ImageId, tuple[Tensor, Tensor]]) -> float:
    """Return the tags' mean average precision over all ranks' images."""
    scores, targets = zip(*merge_across_ranks(per_image).values(), strict=True)
    return mean_average_precision(torch.stack(scores), torch.stack(targets))
