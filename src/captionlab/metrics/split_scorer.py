"""Scores of one split's captions, in one process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from captionlab.core.errors import Notice, UserError
from captionlab.metrics.answers import AnswerScores
from captionlab.metrics.bootstrap import Statistic, StatisticKind
from captionlab.metrics.cider import CiderD
from captionlab.metrics.diversity import Sets, score_sets
from captionlab.metrics.meteor import Meteor
from captionlab.metrics.ngrams import RougeL, bleu_counts, bleu_of
from captionlab.metrics.own_scores import OwnScores
from captionlab.metrics.references import Candidates, ImageId, PreparedReferences, Tokenize
from captionlab.metrics.wups import Similarity

Truth = Callable[[ImageId, str], bool]
Known = Callable[[str], bool]
# cells of the table of words that the interval of "vocabulary" is made of: 512 MiB
MOST_PRESENCE = 2**27
_BLEU: tuple[StatisticKind, ...] = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")


@dataclass(frozen=True)
class Scores:
    """Scores of one split on coco-caption's scale: CIDEr 1.0 and BLEU 1.0 are 100 %.

    ``corpus``: bleu_1 to bleu_4, rouge_l, cider, meteor and truth, each where it could be had.
    ``per_image``: bleu_4, rouge_l and those of cider, meteor, truth (0 or 1), exact_match (0 or 1),
    vqa_accuracy, wups_09, wups_00 that the corpus has, and of the data set's own scores those that
    the image's caption has.
    ``captions``: what was scored. Both are sorted by image id. ``statistics``: what the corpus'
    scores are made of, image by image, for ``bootstrap.intervals``; that of vocabulary is left out of
    a split so large (VQA's) that its table would not fit.

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
        answers: whether captions answer questions, each "image" then a question of one: adds
            exact_match, and vqa_accuracy where questions have several answers.
        similarity: of two words, such as that of ``wordnet.Nouns``: adds wups_09 and wups_00 to the
            scores of answers.
        own: scores that the data set brings along; None for none.

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
        answers: bool = False,
        similarity: Similarity | None = None,
        own: OwnScores | None = None,
    ) -> None:
        self._known, self._own = known, own
        self._references = PreparedReferences(references, tokenize)
        self._answers = AnswerScores(self._references, references, similarity) if answers else None
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
        self._require_all(captions)
        ids = image_order(captions)
        texts = [captions[i] for i in ids]
        candidates = self._references.candidates(ids, texts)
        counts = bleu_counts(self._references, candidates)
        corpus = {f"bleu_{n}": float(v) for n, v in enumerate(bleu_of(counts.sum(0)[None])[0], 1)}
        statistics = {f"bleu_{n}": Statistic(counts, _BLEU[n - 1]) for n in range(1, 5)}
        columns = self._columns(ids, candidates, counts)
        if self._answers is not None:
            columns |= self._answers(ids, texts, candidates)
        means = {name: values for name, values in columns.items() if name not in corpus}
        means |= self._caption_means(candidates)
        if sets is not None and self._cider is not None:
            of_sets = score_sets(self._references, self._cider, ids, sets)
            means |= of_sets.means
            corpus["mbleu"] = float(bleu_of(of_sets.mutual.sum(0)[None])[0, 3])
            statistics |= _set_statistics(of_sets, columns["cider"])
        # fsum: the mean does not depend on the order of summation
        corpus.update((name, fsum(values) / len(ids)) for name, values in means.items())
        statistics |= _caption_statistics(candidates)
        corpus["vocabulary"] = float(len(np.unique(candidates.orders[0].gram)))
        # what is no mean follows from its statistic
        corpus |= {n: one.whole() for n, one in statistics.items() if n not in corpus}
        statistics.update((name, Statistic(values[:, None])) for name, values in means.items())
        self._add_meteor(candidates, corpus, columns, statistics)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        per_image = {
            i: dict(zip(columns, row, strict=True)) for i, row in zip(ids, rows, strict=True)
        }
        if self._own is not None:
            own = self._own.rows(ids, texts)
            of_own = self._own.statistics(own)
            corpus |= {name: one.whole() for name, one in of_own.items()}
            statistics |= of_own
            per_image = {i: per_image[i] | row for i, row in zip(ids, own, strict=True)}
        return Scores(corpus, per_image, dict(zip(ids, texts, strict=True)), statistics)

    def _require_all(self, captions: Mapping[ImageId, str]) -> None:
        missing = [i for i in self._references.image_ids if i not in captions]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self._references)} images have no caption to score, "
                f"the first is {missing[0]!r}"
            )

    def _columns(
        self, ids: Sequence[ImageId], candidates: Candidates, counts: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the scores that each caption has by itself (images,), by name."""
        columns = {"bleu_4": bleu_of(counts)[:, 3], "rouge_l": self._rouge(candidates)}
        if self._cider is not None:
            columns["cider"] = self._cider(candidates)
        if self._truth is not None:
            pairs = zip(ids, candidates.texts, strict=True)
            columns["truth"] = np.array([float(self._truth(i, text)) for i, text in pairs])
        return columns

    def _caption_means(self, candidates: Candidates) -> dict[str, np.ndarray]:
        """Return what else of the captions is a mean over images (images,)."""
        means = {"length": candidates.lengths.astype(np.float64)}
        if self._known is not None:
            means["novel"] = np.array([float(not self._known(text)) for text in candidates.texts])
        return means

    def _add_meteor(
        self,
        candidates: Candidates,
        corpus: dict[str, float],
        columns: dict[str, np.ndarray],
        statistics: dict[str, Statistic],
    ) -> None:
        """Add METEOR, whose score of a corpus is no mean over images, where it can be had."""
        if self._meteor is None:
            return
        references = [self._references.texts[row] for row in candidates.rows]
        scores = self._meteor.score(candidates.texts, references)
        if scores is not None:
            corpus["meteor"], columns["meteor"] = scores
            shift = corpus["meteor"] - float(np.mean(columns["meteor"]))
            statistics["meteor"] = Statistic(columns["meteor"][:, None], shift=shift)


def _set_statistics(of_sets: Sets, ciders: np.ndarray) -> dict[str, Statistic]:
    both = np.column_stack([ciders, of_sets.means["div_2"]])
    return {
        "mbleu": Statistic(of_sets.mutual, "bleu_4"),
        "balance": Statistic(both, "geometric"),
    }


def _caption_statistics(candidates: Candidates) -> dict[str, Statistic]:
    lengths = candidates.lengths.astype(np.float64)
    found = {"length_deviation": Statistic(np.stack([lengths, lengths**2], 1), "deviation")}
    words, column = np.unique(candidates.orders[0].gram, return_inverse=True)
    if len(candidates.texts) * len(words) <= MOST_PRESENCE:
        found["vocabulary"] = Statistic(_word_presence(candidates, column, len(words)), "different")
    return found


def _word_presence(candidates: Candidates, column: np.ndarray, words: int) -> np.ndarray:
    """Return which of the captions' words each caption holds (C, words); ``column``: of each gram."""
    presence = np.zeros((len(candidates.texts), words), dtype=np.float32)
    presence[candidates.orders[0].candidate, column] = 1.0
    return presence


def image_order(image_ids: Iterable[ImageId]) -> list[ImageId]:
    """Return the ids sorted, numbers before names."""
    return sorted(image_ids, key=lambda i: (isinstance(i, str), i))
