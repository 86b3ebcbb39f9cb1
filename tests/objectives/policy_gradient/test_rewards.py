"""Rewards of token ids, against coco-caption on the same text."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from captionlab.core.errors import UserError
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText, token_lists

EOS = 2


def references(images: int = 30, seed: int = 0) -> dict[str, list[list[int]]]:
    """Five captions an image of 3 to 12 of 20 words, the frequent ones often, with their end."""
    draw = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(20)]

    def caption() -> list[int]:
        return [*draw.choices(range(4, 24), weights, k=draw.randint(3, 12)), EOS]

    return {f"image-{i}": [caption() for _ in range(5)] for i in range(images)}


def prepared(texts: dict[str, list[list[int]]], judge=None, **weights: float) -> Reward:
    reward = Reward(**weights)
    reward.prepare(TrainingText(texts, decode=text, tokenize=str.split, truth=judge))
    return reward


def text(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def coco_cider(texts: dict, image_ids: list[str], captions: list[list[int]]) -> np.ndarray:
    """coco-caption's CIDEr-D with the document frequencies of all images."""
    corpus = CiderScorer()
    for refs in texts.values():
        corpus += (None, [text(r) for r in refs])
    corpus.compute_doc_freq()
    scorer = CiderScorer()
    for image_id, caption in zip(image_ids, captions, strict=True):
        scorer += (text(caption), [text(r) for r in texts[image_id]])
    scorer.document_frequency = corpus.document_frequency

    class Corpus(list):  # the number of images is that of the corpus
        def __len__(self) -> int:
            return len(texts)

    scorer.crefs = Corpus(scorer.crefs)
    return np.array(scorer.compute_cider())


def sampled(texts: dict, count: int = 40) -> tuple[list[str], list[list[int]]]:
    other = references(images=count, seed=1)
    ids = [f"image-{i % len(texts)}" for i in range(count)]
    return ids, [captions[0][: 4 + i % 9] for i, captions in enumerate(other.values())]


def test_cider_of_ids_equals_pycocoevalcap():
    texts = references()
    ids, captions = sampled(texts)
    found = prepared(texts, cider=1.0)(ids, captions)
    np.testing.assert_allclose(found["cider"], coco_cider(texts, ids, captions), atol=1e-6)
    assert np.ptp(found["cider"]) > 0.1


def test_bleu_and_rouge_equal_pycocoevalcap():
    texts = references()
    ids, captions = sampled(texts, count=30)
    found = prepared(texts, bleu_4=1.0, rouge_l=1.0)(ids, captions)
    gts = {i: [text(r) for r in texts[i]] for i in ids}
    res = {i: [text(c)] for i, c in zip(ids, captions, strict=True)}
    bleu = Bleu(4).compute_score(gts, res, verbose=0)[1][3]
    np.testing.assert_allclose(found["bleu_4"], bleu, atol=1e-6)
    np.testing.assert_allclose(found["rouge_l"], Rouge().compute_score(gts, res)[1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.java
def test_meteor_equals_pycocoevalcap():
    from pycocoevalcap.meteor.meteor import Meteor

    words = ["a", "dog", "dogs", "runs", "running", "on", "the", "green", "grass", "quickly"]
    spoken = lambda ids: " ".join(words[i % len(words)] for i in ids if i != EOS)  # noqa: E731
    texts = references()
    ids, captions = sampled(texts, count=20)
    reward = Reward(meteor=1.0)
    reward.prepare(TrainingText(texts, decode=spoken, tokenize=str.split))
    places = [f"{place}" for place in range(len(ids))]
    expected = Meteor().compute_score(
        {place: [spoken(r) for r in texts[i]] for place, i in zip(places, ids, strict=True)},
        {place: [spoken(c)] for place, c in zip(places, captions, strict=True)},
    )[1]
    found = reward(ids, captions)
    np.testing.assert_allclose(found["meteor"], expected, atol=1e-6)
    assert np.ptp(found["reward"]) > 0.1


def test_a_caption_that_is_cut_short_is_worth_less():
    texts = references()
    reward = prepared(texts, cider=1.0)
    whole = texts["image-3"][0]
    ended, cut = reward(["image-3", "image-3"], [whole, whole[:-1]])["reward"]
    assert ended > cut


def test_scores_are_added_by_their_weights():
    texts = references()
    ids, captions = sampled(texts)
    truth = lambda image_id, caption: "4" in caption.split()  # noqa: E731
    found = prepared(texts, truth, cider=0.5, truth=2.0)(ids, captions)
    np.testing.assert_allclose(found["reward"], 0.5 * found["cider"] + 2.0 * found["truth"])
    assert found["truth"].tolist() == [float(4 in caption) for caption in captions]


def test_document_frequencies_are_those_of_pycocoevalcap():
    texts = references()
    corpus = CiderScorer()
    for refs in texts.values():
        corpus += (None, [text(r) for r in refs])
    corpus.compute_doc_freq()
    kept = prepared(texts, cider=1.0).document_frequencies()
    found = {
        tuple(map(str, gram)): count
        for n in range(1, 5)
        for gram, count in zip(kept[f"grams_{n}"].tolist(), kept[f"counts_{n}"], strict=True)
    }
    assert found == dict(corpus.document_frequency)
    assert kept["images"] == len(texts)


def test_captions_are_token_lists_up_to_their_length():
    tokens = torch.tensor([[[5, 2, 0], [5, 6, 7]], [[2, 0, 0], [0, 0, 0]]])
    lengths = torch.tensor([[2, 3], [1, 0]])
    assert token_lists(tokens, lengths) == [[5, 2], [5, 6, 7], [2], []]


def test_what_cannot_be_rewarded_is_said():
    with pytest.raises(UserError, match=r"objective\.reward has no weight"):
        Reward()
    with pytest.raises(UserError, match="only the built-in data"):
        Reward(truth=1.0).prepare(TrainingText(references(), decode=text, tokenize=str.split))
    chinese = TrainingText(references(), decode=text, tokenize=str.split, language="zh")
    with pytest.raises(UserError, match="METEOR knows stems of de and en"):
        Reward(meteor=1.0).prepare(chinese)
