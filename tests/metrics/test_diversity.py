"""Diversity of sets of captions, against pycocoevalcap and plain loops."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from captionlab.metrics.cider import CiderD
from captionlab.metrics.diversity import mutual_counts, score_sets
from captionlab.metrics.ngrams import bleu_of
from captionlab.metrics.references import PreparedReferences

WORDS = ["a", "red", "blue", "star", "circle", "left", "of", "the", "big", "small", "dog", "runs"]


def sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 9)))


@pytest.fixture
def split():
    draw = random.Random(3)
    references = {i: [sentence(draw) for _ in range(5)] for i in range(12)}
    sets = {i: [sentence(draw) for _ in range(4)] for i in range(12)}
    sets[0] = [sets[0][0]] * 4
    prepared = PreparedReferences(references, str.split)
    return prepared, CiderD(prepared), references, sets


def test_div_counts_different_grams_of_a_set_over_its_words(split):
    prepared, cider, _, sets = split
    found = score_sets(prepared, cider, list(sets), sets).means
    for row, captions in enumerate(sets.values()):
        words = [word for caption in captions for word in caption.split()]
        pairs = {p for c in captions for p in zip(c.split(), c.split()[1:], strict=False)}
        assert found["div_1"][row] == pytest.approx(len(set(words)) / len(words))
        assert found["div_2"][row] == pytest.approx(len(pairs) / len(words))


def test_mbleu_equals_pycocoevalcap(split):
    prepared, cider, _, sets = split
    mutual = score_sets(prepared, cider, list(sets), sets).mutual
    candidates, others = {}, {}
    for i, captions in sets.items():
        for k, caption in enumerate(captions):
            candidates[f"{i} {k}"] = [caption]
            others[f"{i} {k}"] = captions[:k] + captions[k + 1 :]
    expected = Bleu(4).compute_score(others, candidates, verbose=0)[0]
    np.testing.assert_allclose(bleu_of(mutual.sum(0)[None])[0], expected, atol=1e-9)


def test_oracle_and_average_are_those_of_cider(split):
    prepared, cider, _, sets = split
    found = score_sets(prepared, cider, list(sets), sets)
    for row, (i, captions) in enumerate(sets.items()):
        scores = cider(prepared.candidates([i] * 4, captions))
        assert found.oracle_cider[row] == pytest.approx(scores.max())
        assert found.average_cider[row] == pytest.approx(scores.mean())


def test_self_cider_follows_the_eigenvalues_of_cosines(split):
    prepared, cider, references, sets = split
    found = score_sets(prepared, cider, list(sets), sets).self_cider
    assert found[0] == pytest.approx(0.0, abs=1e-6)  # four times the same caption
    images = len(references)

    def vector(caption: str, n: int) -> dict[tuple[str, ...], float]:
        words = caption.split()
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        weights = {}
        for gram in set(grams):
            df = sum(
                any(f" {' '.join(gram)} " in f" {r} " for r in rs) for rs in references.values()
            )
            weights[gram] = grams.count(gram) * (math.log(images) - math.log(max(df, 1)))
        return weights

    def cosine(a: dict, b: dict) -> float:
        norm = math.hypot(*a.values()) * math.hypot(*b.values()) if a and b else 0.0
        return sum(a[g] * b[g] for g in a if g in b) / norm if norm else 0.0

    for row in (3, 7):
        captions = list(sets.values())[row]
        kernel = np.zeros((4, 4))
        for n in range(1, 5):
            vectors = [vector(c, n) for c in captions]
            kernel += np.array([[cosine(a, b) for b in vectors] for a in vectors]) / 4
        roots = np.sqrt(np.clip(np.linalg.eigvalsh(kernel), 0, None))
        expected = -math.log(roots[-1] / roots.sum()) / math.log(4)
        assert found[row] == pytest.approx(expected, abs=1e-6)


def test_one_caption_alone_has_no_others():
    assert mutual_counts([["a", "dog"]]).tolist() == [0.0] * 10
