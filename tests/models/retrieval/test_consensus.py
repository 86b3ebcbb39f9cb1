"""The consensus of captions against this project's own CIDEr-D and BLEU, one pair after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captionlab.metrics.cider import CiderD
from captionlab.metrics.ngrams import bleu
from captionlab.metrics.references import PreparedReferences
from captionlab.models.retrieval.consensus import Consensus
from captionlab.models.retrieval.index import CaptionIndex

VOCABULARY = 12


def training_captions(images: int = 30, each: int = 4) -> list[list[list[int]]]:
    """Captions of few words, so that n-grams are shared and repeated; the last one is a single word."""
    random = np.random.default_rng(3)
    return [
        [
            random.integers(4, 4 + int(random.integers(1, 5)), int(random.integers(1, 11))).tolist()
            for _ in range(each)
        ]
        for _ in range(images)
    ]


def filled(captions: list[list[list[int]]], dim: int = 6) -> CaptionIndex:
    index = CaptionIndex(dim, (0, 0, 0), vocabulary_size=VOCABULARY)
    index.set_captions(captions)
    index.set_features(
        [torch.randn(len(captions), dim, generator=torch.Generator().manual_seed(1))]
    )
    return index


def text(caption: list[int]) -> str:
    return " ".join(map(str, caption))


def metric(captions: list[list[list[int]]], score: str):
    """This project's score of a caption against the captions of an image, by the image's number."""
    documents = {i: [text(c) for c in image] for i, image in enumerate(captions)}
    prepared = PreparedReferences(documents, str.split)
    cider = CiderD(prepared)

    def scored(images: list[int], written: list[list[int]]) -> np.ndarray:
        candidates = prepared.candidates(images, map(text, written))
        return cider(candidates) if score == "cider" else bleu(prepared, candidates)[1][:, 3]

    return scored


@pytest.mark.parametrize("score", ["cider", "bleu"])
def test_similarities_are_those_of_the_metric(score: str):
    """Images of one caption each: a similarity is the score of one against one."""
    captions = training_captions(images=60, each=1)
    scored = metric(captions, score)
    numbers = list(range(0, 60, 3))
    found = Consensus(filled(captions)).similarities(torch.tensor(numbers), score)
    written = [captions[n][0] for n in numbers]
    expected = np.array([scored([n] * len(numbers), written) for n in numbers]).T
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert (expected > 0.1).sum() > 5


def test_frequencies_are_of_images_and_not_of_captions():
    """Images of several captions: CIDEr-D against an image is the mean over its captions."""
    captions = training_captions(images=30, each=4)
    consensus, scored = Consensus(filled(captions)), metric(captions, "cider")
    candidates = [0, 50, 99, 7]
    written = [captions[n // 4][n % 4] for n in candidates]
    for image in (5, 17):
        references = list(range(4 * image, 4 * image + 4))
        numbers = torch.tensor(candidates + references)
        found = consensus.similarities(numbers, "cider")[:4, 4:].mean(1)
        np.testing.assert_allclose(found.numpy(), scored([image] * 4, written), atol=1e-5)


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("score", ["cider", "bleu"])
def test_the_best_caption_is_that_of_an_exhaustive_search(score: str, count: int):
    captions = training_captions(images=60, each=1)
    scored, consensus = metric(captions, score), Consensus(filled(captions))
    random = np.random.default_rng(0)
    for _ in range(3):
        numbers = random.choice(60, 12, replace=False).tolist()
        means = []
        for number in numbers:
            others = [other for other in numbers if other != number]
            similar = scored(others, [captions[number][0]] * len(others))
            means.append(np.sort(similar)[::-1][:count].mean())
        order = consensus.best(torch.tensor(numbers), score=score, count=count)
        assert sorted(order.tolist()) == list(range(12))
        np.testing.assert_allclose(np.array(means)[order], sorted(means)[::-1], atol=1e-5)


def test_of_equal_captions_the_nearest_is_first():
    consensus = Consensus(filled([[[4, 5, 6]], [[4, 5, 6]], [[7, 8]], [[4, 5]]]))
    order = consensus.best(torch.tensor([1, 0, 2]), score="cider", count=1)
    assert order.tolist() == [0, 1, 2]
    assert consensus.best(torch.tensor([2]), score="cider", count=5).tolist() == [0]
