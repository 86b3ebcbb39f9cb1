"""Made references of images, for rewards."""

from __future__ import annotations

import random

from measuring.work import EOS, FIRST_WORD, Work

IMAGES = 1000  # whose references are counted; a batch holds the first of them


def made_references(work: Work) -> dict[int, list[list[int]]]:
    """Return five captions of token ids with their end for each image, the frequent words first."""
    draw = random.Random(3)
    words = range(FIRST_WORD, work.vocabulary)
    weights = [1 / (rank + 5) for rank in range(len(words))]
    flat = draw.choices(words, weights, k=IMAGES * 5 * work.steps)
    captions = [flat[start : start + work.steps] for start in range(0, len(flat), work.steps)]
    cut = [[*one[: draw.randint(min(8, work.steps), work.steps)], EOS] for one in captions]
    return {image: cut[5 * image : 5 * image + 5] for image in range(max(IMAGES, work.images))}
