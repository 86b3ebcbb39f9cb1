"""Pictures read out of Parquet against the same pictures read from files, shuffled, one process.

    python benchmarks/parquet.py [--images 4000] [--width 240] [--rounds 5] [--compression snappy none]

Each round reads every picture once, in random order, and brings it to 64 x 64 pixels as training
does; rounds from files and from Parquet alternate, and the medians are compared. Small pictures
are the harder case: there is less to decode for each one that is found. Memory is that of the
process, above what it was before the first picture.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from captionlab.data.dataset import read_record_image
from captionlab.data.images.prepare import prepare
from captionlab.data.readers import ParquetCaptions
from captionlab.data.records import CaptionRecord

SIZE = 64
ROW_GROUP = 100  # as hubs have them


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--width", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compression", nargs="+", default=["snappy", "none"])
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        files = draw(Path(folder, "files"), known.images, known.width)
        for compression in known.compression:
            packed = pack(Path(folder, compression), files, compression)
            report(compression, files, packed, known.rounds)


def draw(folder: Path, images: int, width: int) -> list[CaptionRecord]:
    folder.mkdir()
    noise = np.random.default_rng(0)
    records = []
    for number in range(images):
        # smooth enough to be a photograph to the decoder of JPEG
        small = noise.integers(0, 256, (width // 20, width // 15, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, width * 3 // 4))
        image.save(folder / f"{number}.jpg", quality=90)
        records.append(CaptionRecord(f"{number}.jpg", folder / f"{number}.jpg", ("a dog",)))
    return records


def pack(folder: Path, files: Sequence[CaptionRecord], compression: str) -> list[CaptionRecord]:
    folder.mkdir()
    pictures = []
    for record in files:
        assert isinstance(record.image, Path)
        pictures.append({"bytes": record.image.read_bytes(), "path": record.image.name})
    table = pyarrow.table({"image": pictures, "caption": ["a dog"] * len(pictures)})
    pyarrow.parquet.write_table(
        table, folder / "train.parquet", compression=compression, row_group_size=ROW_GROUP
    )
    source = ParquetCaptions(root=str(folder))
    return [record for split in source.splits for record in source.records(split)]


def report(
    name: str, files: Sequence[CaptionRecord], packed: Sequence[CaptionRecord], rounds: int
) -> None:
    before = resident()
    start = time.perf_counter()
    read_record_image(packed[0])
    print(f"{name}: pictures found once in {time.perf_counter() - start:.2f} s")
    seconds: dict[str, list[float]] = {"files": [], "parquet": []}
    for number in range(rounds):
        seconds["files"].append(epoch(files, number))
        seconds["parquet"].append(epoch(packed, number))
    from_files, from_parquet = (statistics.median(values) for values in seconds.values())
    count = len(files)
    print(f"{name}: from files   {count / from_files:8,.0f} pictures a second")
    print(f"{name}: from Parquet {count / from_parquet:8,.0f} pictures a second")
    print(f"{name}: ratio {from_files / from_parquet:.2f}; memory +{resident() - before:,.0f} MB")


def epoch(records: Sequence[CaptionRecord], seed: int) -> float:
    order = list(range(len(records)))
    random.Random(seed).shuffle(order)
    start = time.perf_counter()
    for index in order:
        prepare(read_record_image(records[index], SIZE), SIZE)
    return time.perf_counter() - start


def resident() -> float:
    """Return the anonymous memory of this process in MB: mapped files can be let go."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
