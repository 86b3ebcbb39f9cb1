"""How different captions are: those of one image from each other, and all of them from the training's.

I images, K captions of an image, C = all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from captionlab.metrics.cider import CiderD
from captionlab.metrics.references import (
    MAX_ORDER,
    Candidates,
    ImageId,
    PreparedReferences,
)


@dataclass(frozen=True)
class Sets:
    """Several captions of each image, scored together; every array has a row an image.

    ``grams`` (I, 2) different words and word pairs of a set, ``words`` (I,) all its words;
    ``mutual`` (I, 10) is what BLEU of its captions against each other is made of; ``self_cider``,
    ``oracle_cider`` and ``average_cider`` (I,).
    """

    grams: np.ndarray
    words: np.ndarray
    mutual: np.ndarray
    self_cider: np.ndarray
    oracle_cider: np.ndarray
    average_cider: np.ndarray

    @property
    def means(self) -> dict[str, np.ndarray]:
        """What is averaged over images, by name."""
        words = np.maximum(self.words, 1)
        return {
            "div_1": self.grams[:, 0] / words,
            "div_2": self.grams[:, 1] / words,
            "self_cider": self.self_cider,
            "oracle_cider": self.oracle_cider,
            "average_cider": self.average_cider,
        }


def score_sets(
    references: PreparedReferences,
    cider: CiderD,
    image_ids: Sequence[ImageId],
    sets: Mapping[ImageId, Sequence[str]],
) -> Sets:
    """Return the scores of each image's set of captions, in the order of ``image_ids``.

    Sets may differ in size; one caption alone is like itself (self-CIDEr 0) and has no others to
    be compared with.
    """
    owners = [row for row, i in enumerate(image_ids) for _ in sets[i]]
    ids = [i for i in image_ids for _ in sets[i]]
    texts = [text for i in image_ids for text in sets[i]]
    candidates = references.candidates(ids, texts)
    owner, size = np.array(owners, dtype=np.int64), len(image_ids)
    grams = np.stack([_different(candidates, owner, order, size) for order in (0, 1)], 1)
    words = np.bincount(owner, candidates.lengths, minlength=size)
    scores = cider(candidates)
    count = np.maximum(np.bincount(owner, minlength=size), 1)
    oracle = np.zeros(size)
    np.maximum.at(oracle, owner, scores)
    tokens = [text.split() for text in candidates.texts]
    groups = np.split(np.arange(len(tokens)), np.cumsum(np.bincount(owner, minlength=size))[:-1])
    return Sets(
        grams=grams,
        words=words,
        mutual=np.stack([mutual_counts([tokens[c] for c in group]) for group in groups]),
        self_cider=self_cider(candidates, cider, groups),
        oracle_cider=oracle,
        average_cider=np.bincount(owner, scores, minlength=size) / count,
    )


def _different(candidates: Candidates, owner: np.ndarray, order: int, size: int) -> np.ndarray:
    """Return how many different grams of an order (0: words) each image's captions hold (I,)."""
    counts = candidates.orders[order]
    stride = int(counts.gram.max(initial=0)) + 1
    pairs = np.unique(owner[counts.candidate] * stride + counts.gram)
    return np.bincount(pairs // stride, minlength=size)


def mutual_counts(captions: Sequence[Sequence[str]]) -> np.ndarray:
    """Return matches (4), guesses (4), length and closest length (10,), each caption against the rest.

    Summed over the captions of one image: what a corpus BLEU of them is made of (Shetty et al.
    2017, "mBleu").
    """
    total = np.zeros(2 * MAX_ORDER + 2)
    if len(captions) < 2:
        return total
    counted = [[_counts(caption, n) for n in range(1, MAX_ORDER + 1)] for caption in captions]
    for k, caption in enumerate(captions):
        others = [j for j in range(len(captions)) if j != k]
        for order in range(MAX_ORDER):
            for gram, number in counted[k][order].items():
                most = max(counted[j][order].get(gram, 0) for j in others)
                total[order] += min(number, most)
            total[MAX_ORDER + order] += max(len(caption) - order, 0)
        total[-2] += len(caption)
        # the shorter of two equally near ones, as in BLEU
        lengths = sorted(len(captions[j]) for j in others)
        total[-1] += min(lengths, key=lambda length: abs(length - len(caption)))
    return total


def _counts(caption: Sequence[str], n: int) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for start in range(len(caption) - n + 1):
        gram = tuple(caption[start : start + n])
        counts[gram] = counts.get(gram, 0) + 1
    return counts


def self_cider(candidates: Candidates, cider: CiderD, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return how little the captions of each group resemble each other (I,), in 0..1.

    Wang and Chan 2019, "Describing like Humans", section 4: with the eigenvalues l of the matrix
    of CIDEr (the mean cosine over n of 1 to 4) between a set's m captions,
    ``-log_m(sqrt(l_1) / sum_i sqrt(l_i))``.
    """
    vectors = [cider.weights(candidates, order) for order in range(MAX_ORDER)]
    diversity = np.zeros(len(groups))
    for row, group in enumerate(groups):
        if len(group) < 2:
            continue
        first, last = int(group[0]), int(group[-1]) + 1
        kernel = np.zeros((len(group), len(group)))
        for counts, (weight, norm) in zip(candidates.orders, vectors, strict=True):
            low, high = np.searchsorted(counts.candidate, (first, last))
            gram, column = np.unique(counts.gram[low:high], return_inverse=True)
            dense = np.zeros((len(group), max(len(gram), 1)))
            dense[counts.candidate[low:high] - first, column] = weight[low:high]
            length = norm[first:last, None]
            dense = np.divide(dense, length, out=np.zeros_like(dense), where=length > 0)
            kernel += dense @ dense.T
        roots = np.sqrt(np.clip(np.linalg.eigvalsh(kernel / MAX_ORDER), 0, None))
        if roots.sum() > 0:
            diversity[row] = -np.log(roots[-1] / roots.sum()) / np.log(len(group))
    return diversity
