"""The reward of a step of self-critical training: captionlab against pycocoevalcap, in one run.

    python benchmarks/reward.py [--images 5000] [--captions 50] [--repeats 100]

Both score the same captions, as token ids with their end, against five references of their images
with the document frequencies of all images' references. pycocoevalcap's Cider is given these
frequencies and the tokenized text.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocoevalcap.cider.cider_scorer import CiderScorer

from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText

WORDS = 2000
EOS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--captions", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=100)
    known = parser.parse_args()
    draw = random.Random(0)
    weights = [1 / (rank + 5) for rank in range(WORDS)]

    def caption() -> list[int]:
        words = draw.choices(range(4, 4 + WORDS), weights, k=draw.randint(8, 14))
        return [*words, EOS]

    references = {i: [caption() for _ in range(5)] for i in range(known.images)}
    reward = Reward(cider=1.0)
    start = time.perf_counter()
    reward.prepare(TrainingText(references, decode=str, tokenize=str.split))
    print(f"counting the references once {time.perf_counter() - start:8.2f} s")
    corpus = CiderScorer()
    for captions in references.values():
        corpus += (None, [text(one) for one in captions])
    corpus.compute_doc_freq()
    batches = [batch(draw, references, known.captions) for _ in range(known.repeats)]
    ours, our_time = timed(lambda ids, captions: reward(ids, captions)["cider"], batches)
    theirs, their_time = timed(
        lambda ids, captions: pycocoevalcap(references, corpus, ids, captions), batches
    )
    print(f"captionlab                   {1e3 * our_time:8.2f} ms for {known.captions} captions")
    print(f"pycocoevalcap                {1e3 * their_time:8.2f} ms")
    print(f"ratio: {their_time / our_time:.1f} times as fast")
    print(f"largest difference {np.abs(np.array(ours) - np.array(theirs)).max():.1e}")


def batch(draw: random.Random, references: dict, count: int) -> tuple[list[int], list[list[int]]]:
    """Five captions an image, each a reference with some words exchanged."""
    ids, captions = [], []
    for image in draw.sample(list(references), -(-count // 5)):
        for reference in references[image]:
            changed = list(reference)
            for _ in range(3):
                changed[draw.randrange(len(changed) - 1)] = draw.randrange(4, 4 + WORDS)
            ids.append(image)
            captions.append(changed)
    return ids[:count], captions[:count]


def pycocoevalcap(
    references: dict, corpus: CiderScorer, ids: list[int], captions: list[list[int]]
) -> np.ndarray:
    class Corpus(list):
        """A list that is as long as the corpus: its length is the number of documents."""

        def __len__(self) -> int:
            return len(references)

    scorer = CiderScorer()
    for image, caption in zip(ids, captions, strict=True):
        scorer += (text(caption), [text(one) for one in references[image]])
    scorer.document_frequency = corpus.document_frequency
    scorer.crefs = Corpus(scorer.crefs)
    return np.array(scorer.compute_cider())


def timed(score: Callable[..., Any], batches: list) -> tuple[list, float]:
    times, found = [], []
    for ids, captions in batches:
        start = time.perf_counter()
        found.append(score(ids, captions))
        times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def text(ids: list[int]) -> str:
    return " ".join(map(str, ids))


if __name__ == "__main__":
    main()
