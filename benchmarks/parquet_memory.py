"""Memory over a shuffled epoch of pictures inside Parquet, at intervals; each case in a process of its own.

    python benchmarks/parquet_memory.py [--images 100000] [--rows 10000] [--compression snappy none zstd]
        [--row-groups 100 1000 10000] [--workers 0 2] [--most SECONDS] [--epochs 1]

Shards of ``--rows`` small JPEGs, columns image ({bytes, path}) and caption, are written with pyarrow as
hubs have them, and read through the data module: the check of all pictures, then a shuffled epoch.
Memory is in MB, of the process and of its loading processes: ``anon`` is what they hold themselves,
``rss`` has the pages of files with it, ``pss`` shares what several of them have in common. ``--most``
ends an epoch that would take longer. All pictures together have 100,000 x 10 KB, so that memory that
follows what was read is plain to see.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from captionlab.data import CaptionDataModule
from captionlab.data.readers import ParquetCaptions
from captionlab.text.tokenizers import WordTokenizer

DRAWN = 500  # different pictures; a comment in the head makes each of the rest differ
CAPTIONS = 5  # a picture, as in MS COCO
SIZE = 64
BATCH = 64
LINES = 8  # of figures an epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--compression", nargs="+", default=["snappy", "none", "zstd"])
    parser.add_argument("--row-groups", nargs="+", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--most", type=float, default=float("inf"))
    parser.add_argument("--epochs", type=int, default=1)
    known = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for compression, group in itertools.product(known.compression, known.row_groups):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            root = Path(folder, "shards")
            size = write(root, known.images, known.rows, compression, group)
            for workers in known.workers:
                print(f"\n{compression}, row groups of {group}, {workers} workers ({size:,} MB)")
                arguments = (root, workers, known.most, known.epochs)
                process = context.Process(target=measure, args=arguments)
                process.start()
                process.join()


def write(root: Path, images: int, rows: int, compression: str, group: int) -> int:
    """Write the shards; return how many MB they have."""
    root.mkdir()
    drawn = draw()
    writing = partial(pyarrow.parquet.write_table, compression=compression, row_group_size=group)
    for shard, first in enumerate(range(0, images, rows)):
        table = rows_of(drawn, range(first, min(first + rows, images)))
        writing(table, root / f"train-{shard:05}-of-{-(-images // rows):05}.parquet")
    writing(rows_of(drawn, range(images, images + 100)), root / "validation-00000-of-00001.parquet")
    return sum(file.stat().st_size for file in root.iterdir()) // 10**6


def draw() -> list[bytes]:
    noise = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWN):
        # smooth enough to be a photograph to the decoder of JPEG
        small = noise.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(small).resize((240, 180)).save(buffer, "JPEG", quality=90)
        drawn.append(buffer.getvalue())
    return drawn


def rows_of(drawn: list[bytes], numbers: range) -> pyarrow.Table:
    pictures = []
    for number in numbers:
        jpeg = drawn[number % DRAWN]
        comment = number.to_bytes(8, "big")
        pictures.append(
            {"bytes": jpeg[:2] + b"\xff\xfe\x00\x0a" + comment + jpeg[2:], "path": f"{number}.jpg"}
        )
    captions = [
        [f"picture {number} is number {k} of a dog on the grass" for k in range(CAPTIONS)]
        for number in numbers
    ]
    return pyarrow.table({"image": pictures, "caption": captions})


def measure(root: Path, workers: int, most: float, epochs: int) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    print(f"{'':>22} {'anon':>7} {'rss':>7}   loading processes: pss, rss")
    show("start", ())
    data = CaptionDataModule(
        name="parquet",
        source=ParquetCaptions(root=str(root)),
        tokenizer=partial(WordTokenizer.fit, threshold=1),
        image_size=SIZE,
        batch_size=BATCH,
        num_workers=workers,
        cache_images=False,
    )
    show("rows are read", ())
    start = time.perf_counter()
    data.setup("fit")
    show(f"checked in {time.perf_counter() - start:.0f} s", ())
    loader = data.train_dataloader()
    for epoch in range(epochs):
        start = time.perf_counter()
        seen = 0
        for number, batch in enumerate(loader, start=1):
            seen += len(batch)
            seconds = time.perf_counter() - start
            if number % (len(loader) // LINES) == 0 or seconds > most:
                show(f"epoch {epoch}: {seen:,}", children())
            if seconds > most:
                break
        print(f"{seen / (time.perf_counter() - start):,.0f} pictures a second")


def children() -> Iterator[int]:
    for child in multiprocessing.active_children():
        assert child.pid is not None
        yield child.pid


def show(what: str, workers: Iterator[int] | tuple[int, ...]) -> None:
    own = memory("/proc/self/smaps_rollup")
    loading = [memory(f"/proc/{worker}/smaps_rollup") for worker in workers]
    rest = "; ".join(f"{one['Pss']:,.0f} {one['Rss']:,.0f}" for one in loading)
    print(f"{what:>22} {own['Anonymous']:7,.0f} {own['Rss']:7,.0f}   {rest}", flush=True)


def memory(file: str) -> dict[str, float]:
    """Return the figures of a process in MB."""
    lines = (line.split() for line in Path(file).read_text().splitlines()[1:])
    return {line[0].rstrip(":"): int(line[1]) / 1024 for line in lines}


if __name__ == "__main__":
    main()
