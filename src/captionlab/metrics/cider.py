"""CIDEr-D as coco-caption's ``Cider`` computes it, without Java.

I images, R references in all, C candidate captions (several may belong to one image).
"""

from __future__ import annotations

import numpy as np

from captionlab.core.errors import UserError
from captionlab.metrics.references import MAX_ORDER, Candidates, GramIndex, PreparedReferences


class CiderD:
    """CIDEr-D of candidates against prepared references; 1.0 is what papers print as 100.

    Document frequencies come from the references given. ``sigma`` is the width, in words, of the
    Gaussian penalty on a difference in length. UserError where the references are of one image:
    every gram then occurs in every image, weighs nothing, and any caption would score 0.
    Source: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", as CIDEr-D.
    """

    def __init__(self, references: PreparedReferences, *, sigma: float = 6.0) -> None:
        if len(references) < 2:
            raise UserError(
                "CIDEr needs at least 2 images, and this split has 1: it weighs words by how few "
                "images they describe, so with one image every caption would score 0; "
                "score more images, or read BLEU and ROUGE-L instead"
            )
        self._references = references
        self._sigma = sigma
        self._log_images = np.log(float(len(references)))
        self._idf = [
            self._log_images - np.log(np.maximum(index.document_frequency, 1.0))
            for index in references.orders
        ]
        self._norms = [
            _reference_norms(index, idf, len(references.lengths))
            for index, idf in zip(references.orders, self._idf, strict=True)
        ]

    def __call__(self, candidates: Candidates) -> np.ndarray:
        """Return the score (C,) of each candidate, 0..10; a mean over images is the corpus score.

        A caption with no words scores 0. Rewards of several samples an image: pass an image's row
        once for each of its samples.
        """
        total = np.zeros(len(candidates))
        for order in range(MAX_ORDER):
            total += self._similarities(candidates, order)
        references = np.diff(self._references.first)[candidates.rows]
        return total / MAX_ORDER / references * 10.0

    def weights(self, candidates: Candidates, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of each (candidate, gram) of an order, and each vector's length (C,)."""
        idf, counts = self._idf[order], candidates.orders[order]
        known = counts.gram < len(idf)
        weight = counts.count * self._log_images
        weight[known] = counts.count[known] * idf[counts.gram[known]]
        norm = np.sqrt(np.bincount(counts.candidate, weight**2, minlength=len(candidates)))
        return weight, norm

    def _similarities(self, candidates: Candidates, order: int) -> np.ndarray:
        """Return the penalized clipped cosine (C,), summed over the references of the image."""
        index, idf = self._references.orders[order], self._idf[order]
        counts = candidates.orders[order]
        size = len(candidates)
        weight, norm = self.weights(candidates, order)
        # one item for each (candidate, gram, reference of its image that has the gram)
        matches = np.flatnonzero(counts.pair >= 0)
        first = index.pair_first[counts.pair[matches]]
        repeats = index.pair_first[counts.pair[matches] + 1] - first
        starts = np.cumsum(repeats) - repeats
        entry = np.arange(repeats.sum()) + np.repeat(first - starts, repeats)
        item = np.repeat(matches, repeats)
        candidate, reference = counts.candidate[item], index.entry_reference[entry]
        reference_weight = index.entry_count[entry] * idf[counts.gram[item]]
        product = np.minimum(weight[item], reference_weight) * reference_weight
        norms = norm[candidate] * self._norms[order][reference]
        cosine = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
        penalty = self._length_penalty(candidates.lengths[candidate], reference)
        return np.bincount(candidate, cosine * penalty, minlength=size)

    def _length_penalty(self, lengths: np.ndarray, reference: np.ndarray) -> np.ndarray:
        # coco-caption takes the number of bigrams for the length
        difference = np.maximum(lengths - 1, 0) - np.maximum(
            self._references.lengths[reference] - 1, 0
        )
        return np.exp(-(difference**2) / (2 * self._sigma**2))


def _reference_norms(index: GramIndex, idf: np.ndarray, references: int) -> np.ndarray:
    """Return the length (R,) of each reference's vector of weights."""
    gram = np.repeat(index.pair_gram, np.diff(index.pair_first))
    weight = index.entry_count * idf[gram]
    return np.sqrt(np.bincount(index.entry_reference, weight**2, minlength=references))
