"""Two processes that share the pictures of Parquet files: which they see, how often, and of which bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from captionlab.data import CaptionBatch, CaptionDataModule
from captionlab.data.readers import ParquetCaptions
from captionlab.text.tokenizers import WordTokenizer
from ranks_support import run_ranks

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SIDE = 16  # of a picture: as the data module gives them, so that its pixels are those of the file
BATCH = 8
EPOCHS = 3
VALIDATION = range(100, 111)
Seen = list[tuple[str, torch.Tensor]]


class Case(NamedTuple):
    """How many training pictures, packed how, read by how many loading processes of each rank."""

    images: int
    compression: str
    workers: int


CASES = {"even": Case(40, "snappy", 0), "ragged": Case(43, "none", 1), "gzip": Case(45, "gzip", 0)}


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, split: str, numbers: range, compression: str) -> None:
    """Write a split in two shards of row groups of three."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in (0, 1):
        of_shard = numbers[shard::2]
        table = pa.table(
            {
                "image": [{"bytes": png(n), "path": f"{n}.png"} for n in of_shard],
                "caption": [f"picture {n}" for n in of_shard],
            }
        )
        place = folder / f"{split}-0000{shard}-of-00002.parquet"
        pq.write_table(table, place, compression=compression, row_group_size=3)


def module(folder: Path, rank: int, ranks: int, workers: int) -> CaptionDataModule:
    data = CaptionDataModule(
        name="parquet",
        source=ParquetCaptions(root=str(folder / "data")),
        tokenizer=partial(WordTokenizer.fit, threshold=1),
        image_size=SIDE,
        batch_size=BATCH,
        num_workers=workers,
        cache_images=False,
    )
    trainer: Any = SimpleNamespace(global_rank=rank, world_size=ranks, limit_val_batches=1.0)
    data.trainer = trainer
    data.setup("fit")
    return data


def pairs(loader: Any) -> Seen:
    batches: list[CaptionBatch] = list(loader)
    return [
        (str(image_id), image)
        for batch in batches
        for image_id, image in zip(batch.image_ids, batch.images, strict=True)
    ]


def on_one_rank(rank: int, folder: Path) -> None:
    """Gather what both ranks see of each case, epoch by epoch and in validation; rank 0 writes it."""
    for name, case in CASES.items():
        torch.manual_seed(7)
        data = module(folder / name, rank, 2, case.workers)
        loader = data.train_dataloader()
        own = [pairs(loader) for _ in range(EPOCHS)] + [pairs(data.val_dataloader())]
        both: list[list[Seen]] = [[], []]
        dist.all_gather_object(both, own)
        if rank == 0:
            torch.save(both, folder / f"{name}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return where the data of each case lie, and what two ranks saw of them."""
    folder = tmp_path_factory.mktemp("ranks")
    for name, case in CASES.items():
        write(folder / name / "data", "train", range(case.images), case.compression)
        write(folder / name / "data", "validation", VALIDATION, case.compression)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLAB_CACHE", str(folder / "cache"))
        run_ranks(on_one_rank, folder)
        yield folder


def seen(folder: Path, case: str) -> tuple[list[list[Seen]], list[Seen]]:
    """Return what each rank saw in each epoch, and in validation."""
    both: list[list[Seen]] = torch.load(folder / f"{case}.pt")
    return [of_rank[:EPOCHS] for of_rank in both], [of_rank[EPOCHS] for of_rank in both]


def number_of(name: str) -> int:
    return int(name.split(".")[0])


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_see_each_training_picture_once_an_epoch(folder: Path, case: str):
    images = CASES[case].images
    epochs, _ = seen(folder, case)
    orders = [[number_of(name) for rank in epochs for name, _ in rank[n]] for n in range(EPOCHS)]
    for order in orders:
        assert max(Counter(order).values()) == 1
        assert len(order) == images // BATCH * BATCH  # a ragged last batch waits an epoch
        assert order != sorted(order)
    assert orders[0] != orders[1]
    assert {number for order in orders for number in order} == set(range(images))


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_validate_on_each_picture(folder: Path, case: str):
    _, validation = seen(folder, case)
    # the last has no twin on the other rank: one comes twice, and is dropped before it is scored
    counts = Counter(number_of(name) for rank in validation for name, _ in rank)
    assert set(counts) == set(VALIDATION)
    assert counts.total() == len(VALIDATION) + 1


@pytest.mark.parametrize("case", CASES)
def test_what_ranks_see_has_the_pixels_of_the_file(folder: Path, case: str):
    epochs, validation = seen(folder, case)
    for shown in [*epochs[0], *epochs[1], *validation]:
        for name, image in shown:
            expected = torch.from_numpy(pixels(number_of(name))).permute(2, 0, 1)
            assert torch.equal(image, expected)


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_see_what_one_process_sees(folder: Path, case: str):
    epochs, _ = seen(folder, case)
    torch.manual_seed(7)
    loader = module(folder / case, 0, 1, 0).train_dataloader()
    for epoch in range(EPOCHS):
        alone = [name for name, _ in pairs(loader)]
        first, second = ([name for name, _ in rank[epoch]] for rank in epochs)
        assert [name for both in zip(first, second, strict=True) for name in both] == alone
