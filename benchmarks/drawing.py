"""Times the built-in data on one core: scenes, captions, pictures, and whole records with pictures.

OMP_NUM_THREADS=1 python benchmarks/drawing.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from time import perf_counter

from captionlab.data.readers.shapes import Shapes, captions, draw, is_true, sample_scene
from captionlab.data.records import CaptionRecord


def rate(work: Callable[[int], object], count: int) -> float:
    """Return how many times a second `work` runs."""
    start = perf_counter()
    for index in range(count):
        work(index)
    return count / (perf_counter() - start)


def _drawn(record: CaptionRecord) -> object:
    return record.image() if callable(record.image) else None


def main(count: int = 2000) -> None:
    rng = Random(0)
    scenes = [sample_scene(rng) for _ in range(count)]
    texts = [captions(scene, rng) for scene in scenes]
    records = Shapes(train_size=count).records("train")
    speeds = {
        "scenes sampled": rate(lambda _: sample_scene(rng), count),
        "images drawn at 64x64": rate(lambda i: draw(scenes[i], 64), count),
        "images drawn at 224x224": rate(lambda i: draw(scenes[i], 224), count // 4),
        "captions written (en)": 5 * rate(lambda i: captions(scenes[i], rng), count),
        "captions written (zh)": 5 * rate(lambda i: captions(scenes[i], rng, 5, "zh"), count),
        "captions written (de)": 5 * rate(lambda i: captions(scenes[i], rng, 5, "de"), count),
        "captions judged (en)": rate(lambda i: is_true(texts[i][0], scenes[i], "en"), count),
        "records: image and 5 captions": rate(lambda i: _drawn(records[i]), count),
    }
    for name, speed in speeds.items():
        print(f"{name:32s}{speed:10,.0f}/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
