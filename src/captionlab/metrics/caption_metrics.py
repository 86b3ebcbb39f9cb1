"""Scores of a whole split, the same on one process and on many."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

import numpy as np
import torch.distributed as dist

from captionlab.core.errors import Notice, UserError
from captionlab.metrics.bootstrap import Kind, Statistic
from captionlab.metrics.cider import CiderD
from captionlab.metrics.diversity import score_sets
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.ngrams import RougeL, bleu_counts, bleu_of
from captionlab.metrics.references import Candidates, ImageId, PreparedReferences, Tokenize

Truth = Callable[[Any, str], bool]
Known = Callable[[str], bool]
# of each image: its caption, its references, a set of captions (empty where none was made)
Collected = dict[ImageId, tuple[str, tuple[str, ...], tuple[str, ...]]]
_BLEU: tuple[Kind, ...] = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")


@dataclass(frozen=True)
class Scores:
    """Scores of one split on coco-caption's scale: CIDEr 1.0 and BLEU 1.0 are 100 %.

    ``corpus``: bleu_1 to bleu_4, rouge_l, cider, meteor and truth, each where it could be had.
    ``per_image``: bleu_4, rouge_l and those of cider, meteor, truth (0 or 1) that the corpus has.
    ``captions``: what was scored. Both are sorted by image id. ``statistics``: what the corpus'
    scores are made of, image by image, for ``bootstrap.intervals``.

    Beside these the corpus has ``vocabulary`` (different words of all captions), ``length`` and
    ``length_deviation`` (words), ``novel`` (share of captions that no training image has, where
    that is known), and where there are sets of captions: ``div_1`` and ``div_2`` (different words
    and word pairs of a set over its words), ``mbleu`` (BLEU-4 of a set's captions against each
    other, of all sets together), ``self_cider``, ``oracle_cider`` and ``average_cider`` (the best
    and the mean CIDEr of a set), all means over images, and ``balance``, the geometric mean of CIDEr
    and div_2: a model that gains one by losing the other does not gain.
    """

    corpus: dict[str, float]
    per_image: dict[ImageId, dict[str, float]]
    captions: dict[ImageId, str]
    statistics: dict[str, Statistic] = field(default_factory=dict, compare=False)


class SplitScorer:
    """Scores captions of a split whose references are prepared once.

    Args:
        references: captions of each image; UserError for no image, or an image without a caption.
        tokenize: caption -> tokens, for references and candidates alike.
        meteor: a METEOR process; None leaves METEOR out.
        truth: (image id, caption) -> whether all that the caption says holds; None leaves it out.
        known: caption -> whether a training image has it; None leaves ``novel`` out.

    CIDEr of a single image is left out with one warning that says why.
    """

    def __init__(
        self,
        references: Mapping[ImageId, Sequence[str]],
        tokenize: Tokenize,
        *,
        meteor: Meteor | None = None,
        truth: Truth | None = None,
        known: Known | None = None,
    ) -> None:
        self._known = known
        self._references = PreparedReferences(references, tokenize)
        self._meteor, self._truth = meteor, truth
        self._rouge = RougeL(self._references)
        self._cider: CiderD | None = None
        try:
            self._cider = CiderD(self._references)
        except UserError as reason:
            warnings.warn(f"CIDEr is left out: {reason}", Notice, stacklevel=3)

    def __call__(
        self,
        captions: Mapping[ImageId, str],
        sets: Mapping[ImageId, Sequence[str]] | None = None,
    ) -> Scores:
        """Return the scores of one caption for each image, and of ``sets`` of them where given.

        UserError unless each image has a caption.
        """
        missing = [i for i in self._references.image_ids if i not in captions]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self._references)} images have no caption to score, "
                f"the first is {missing[0]!r}"
            )
        ids = _in_order(captions)
        texts = [captions[i] for i in ids]
        candidates = self._references.candidates(ids, texts)
        counts = bleu_counts(self._references, candidates)
        corpus = {f"bleu_{n}": float(v) for n, v in enumerate(bleu_of(counts.sum(0)[None])[0], 1)}
        statistics = {f"bleu_{n}": Statistic(counts, _BLEU[n - 1]) for n in range(1, 5)}
        columns = {"bleu_4": bleu_of(counts)[:, 3], "rouge_l": self._rouge(candidates)}
        if self._cider is not None:
            columns["cider"] = self._cider(candidates)
        if self._truth is not None:
            columns["truth"] = np.array(
                [float(self._truth(i, text)) for i, text in zip(ids, texts, strict=True)]
            )
        means = {name: values for name, values in columns.items() if name not in corpus}
        means |= self._more(texts, candidates)
        if sets is not None and self._cider is not None:
            of_sets = score_sets(self._references, self._cider, ids, sets)
            means |= of_sets.means
            corpus["mbleu"] = float(bleu_of(of_sets.mutual.sum(0)[None])[0, 3])
            statistics["mbleu"] = Statistic(of_sets.mutual, "bleu_4")
            both = np.column_stack([columns["cider"], of_sets.means["div_2"]])
            statistics["balance"] = Statistic(both, "geometric")
        # fsum: the mean does not depend on the order of summation
        corpus.update((name, fsum(values) / len(ids)) for name, values in means.items())
        lengths = candidates.lengths.astype(np.float64)
        statistics["vocabulary"] = Statistic(_words_of(candidates), "different")
        statistics["length_deviation"] = Statistic(np.stack([lengths, lengths**2], 1), "deviation")
        for name in ("vocabulary", "length_deviation", "balance"):
            if name in statistics:
                corpus[name] = statistics[name].whole()
        statistics.update((name, Statistic(values[:, None])) for name, values in means.items())
        if self._meteor is not None:
            references = [self._references.texts[row] for row in candidates.rows]
            if (scores := self._meteor.score(candidates.texts, references)) is not None:
                corpus["meteor"], columns["meteor"] = scores
                shift = corpus["meteor"] - float(np.mean(columns["meteor"]))
                statistics["meteor"] = Statistic(columns["meteor"][:, None], shift=shift)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        per_image = {
            i: dict(zip(columns, row, strict=True)) for i, row in zip(ids, rows, strict=True)
        }
        return Scores(corpus, per_image, dict(zip(ids, texts, strict=True)), statistics)

    def _more(self, texts: list[str], candidates: Candidates) -> dict[str, np.ndarray]:
        """Return what else is a mean over images."""
        more = {"length": candidates.lengths.astype(np.float64)}
        if self._known is not None:
            more["novel"] = np.array([float(not self._known(text)) for text in texts])
        return more


class CaptionMetrics:
    """Collects generated captions batch by batch and scores each image once, over all processes.

    Padded distributed samplers repeat images; of an image's captions the first one of the lowest
    rank counts. Rank 0 scores, every rank gets the scores. References are prepared once and kept as
    long as the images and their references stay the same. Arguments as of ``SplitScorer``; METEOR's
    process starts, on rank 0 only, with the first batch: it loads while captions are generated.
    """

    def __init__(
        self,
        tokenize: Tokenize,
        *,
        meteor: Meteor | None = None,
        truth: Truth | None = None,
        known: Known | None = None,
    ) -> None:
        self._tokenize, self._meteor, self._truth, self._known = tokenize, meteor, truth, known
        self._collected: Collected = {}
        self._prepared: tuple[dict[ImageId, tuple[str, ...]], SplitScorer] | None = None

    def names(self, *, sets: bool) -> set[str]:
        """Return the names of the corpus scores that ``compute`` will give.

        ``sets``: whether ``update`` gets several captions an image. METEOR counts as there, though
        its process may fail later.
        """
        truth, known = self._truth and (lambda *_: True), self._known and (lambda *_: True)
        references: dict[ImageId, Sequence[str]] = {
            0: ("a dog runs", "the dog is running"),
            1: ("a red cat", "one cat sleeps"),
        }
        captions: dict[ImageId, str] = {i: several[0] for i, several in references.items()}
        scorer = SplitScorer(references, str.split, truth=truth, known=known)
        found = set(scorer(captions, references if sets else None).corpus)
        return found | {"meteor"} if self._meteor is not None else found

    @property
    def meteor(self) -> Meteor | None:
        """METEOR's process, None where it is left out."""
        return self._meteor

    def update(
        self,
        image_ids: Sequence[ImageId],
        captions: Sequence[str],
        references: Sequence[Sequence[str]],
        sets: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Add a batch: one caption, the references and, for diversity, several captions an image."""
        if self._meteor is not None and _rank() == 0:
            self._meteor.start()
        several = [()] * len(captions) if sets is None else [tuple(one) for one in sets]
        for image_id, caption, texts, own in zip(
            image_ids, captions, references, several, strict=True
        ):
            self._collected.setdefault(image_id, (caption, tuple(texts), own))

    def compute(self) -> Scores:
        """Return the scores of all captions since ``reset``, on every rank.

        Every rank must call it, one without captions too. UserError, on all ranks, where no rank
        has a caption or an image has no reference; RuntimeError where rank 0 failed otherwise.
        """
        if _world_size() == 1:
            return self._score([self._collected])
        gathered: list[Any] = [None] * _world_size()
        dist.all_gather_object(gathered, self._collected)
        if _rank() == 0:
            return self._score_and_broadcast(gathered)
        message: list[Any] = [None]
        dist.broadcast_object_list(message, src=0)
        scores, user_error, error = message[0]
        if user_error is not None:
            raise UserError(user_error)
        if error is not None:
            raise RuntimeError(f"scoring failed on rank 0: {error}")
        return scores

    def reset(self) -> None:
        """Forget the captions; prepared references stay until other ones come."""
        self._collected = {}

    def close(self) -> None:
        """End METEOR's process; a later ``compute`` goes without it."""
        if self._meteor is not None:
            self._meteor.close()

    def _score_and_broadcast(self, gathered: list[dict]) -> Scores:
        # whatever happens here, the other ranks wait for a message
        message: tuple[Scores | None, str | None, str | None] = (None, None, "it was interrupted")
        try:
            scores = self._score(gathered)
            message = (scores, None, None)
        except UserError as error:
            message = (None, str(error), None)
            raise
        except Exception as error:
            message = (None, None, f"{type(error).__name__}: {error}")
            raise
        finally:
            dist.broadcast_object_list([message], src=0)
        return scores

    def _score(self, gathered: list[Collected]) -> Scores:
        merged: Collected = {}
        for collected in reversed(gathered):
            merged.update(collected)
        ids = _in_order(merged)
        references = {i: merged[i][1] for i in ids}
        if self._prepared is None or self._prepared[0] != references:
            scorer = SplitScorer(
                references,
                self._tokenize,
                meteor=self._meteor,
                truth=self._truth,
                known=self._known,
            )
            self._prepared = (references, scorer)
        sets = {i: merged[i][2] for i in ids} if all(merged[i][2] for i in ids) else None
        return self._prepared[1]({i: merged[i][0] for i in ids}, sets)


def _words_of(candidates: Candidates) -> np.ndarray:
    """Return which of the captions' words each caption holds (C, words)."""
    counts = candidates.orders[0]
    words, column = np.unique(counts.gram, return_inverse=True)
    found = np.zeros((len(candidates.texts), len(words)), dtype=np.float32)
    found[counts.candidate, column] = 1.0
    return found


def _in_order(image_ids: Iterable[ImageId]) -> list[ImageId]:
    """Return the ids sorted, numbers before names."""
    return sorted(image_ids, key=lambda i: (isinstance(i, str), i))


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _rank() -> int:
    return dist.get_rank() if _distributed() else 0


def _world_size() -> int:
    return dist.get_world_size() if _distributed() else 1
