"""Parquet and `datasets`' own folders, written by the real packages; and those that lie."""

import contextlib
import io
import json
import pickle
import random
import re
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.core.errors import UserError
from captionlab.data import CaptionDataModule
from captionlab.data.dataset import read_record_image
from captionlab.data.images.check import find_broken
from captionlab.data.images.prepare import prepare
from captionlab.data.readers import Auto, ImageFolder, ParquetCaptions, SavedDataset
from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.text.tokenizers import WordTokenizer
from data_support import write_images, write_text

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FORMATS = ("jpeg", "png")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture(seed: int, kind: str = "jpeg") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((120, 90)).save(buffer, kind)
    return buffer.getvalue()


def rows(count: int, kind: str = "jpeg", first: int = 0) -> dict[str, list]:
    numbers = range(first, first + count)
    return {
        "image": [{"bytes": picture(i, kind), "path": f"{i}.{kind}"} for i in numbers],
        "caption": [[f"picture {i}", f"number {i}"] for i in numbers],
    }


def write(path: Path, content: dict[str, list], **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(content), path, **how)
    return path.parent


def records(source: CaptionSource) -> list[CaptionRecord]:
    return [record for split in source.splits for record in source.records(split)]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "lz4", "gzip", "brotli"])
@pytest.mark.parametrize("kind", [*FORMATS, "bmp"])
def test_pictures_are_what_was_written_in_any_order(tmp_path: Path, compression: str, kind: str):
    root = write(
        tmp_path / "d/train.parquet", rows(25, kind), compression=compression, row_group_size=10
    )
    found = records(ParquetCaptions(root=str(root)))
    random.Random(0).shuffle(found)
    for record in found:
        number = int(record.image.name.split(".")[0])
        assert record.image.read() == picture(number, kind)
        assert record.captions == (f"picture {number}", f"number {number}")


def test_a_hubs_shards(tmp_path: Path):
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "caption_0": text, "caption_1": text})
    for split, first in {"train": 0, "validation": 20}.items():
        content = rows(5, "png", first)
        content |= {f"caption_{k}": [c[k] for c in content["caption"]] for k in (0, 1)}
        del content["caption"]
        (tmp_path / "data").mkdir(exist_ok=True)
        data = datasets.Dataset.from_dict(content, features=features)
        data.to_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet")
    source = Auto(root=str(tmp_path))
    assert source.splits == ("train", "val")
    assert source.records("val")[0].captions == ("picture 20", "number 20")
    assert read_record_image(source.records("val")[0]).shape == (3, 90, 120)


@pytest.mark.parametrize("as_dict", [True, False], ids=["dict", "single"])
def test_what_datasets_saves(tmp_path: Path, as_dict: bool):
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Sequence(datasets.Value("string"))}
    )
    parts = {"train": rows(6), "validation": rows(3, first=6), "test": rows(3, first=9)}
    made = {s: datasets.Dataset.from_dict(c, features=features) for s, c in parts.items()}
    whole = datasets.DatasetDict(made) if as_dict else made["train"]
    whole.save_to_disk(tmp_path / "saved")
    source = Auto(root=str(tmp_path / "saved"))
    found = records(source)
    assert len(found) == (12 if as_dict else 6)
    assert all(r.image.read() == picture(int(r.captions[0].split()[1])) for r in found)
    assert not find_broken([r.image for r in found])


def test_rows_of_one_picture_join_and_pictures_of_one_name_do_not(tmp_path: Path):
    content = {
        "image": [{"bytes": picture(i), "path": p} for i, p in ((1, "a"), (1, "a"), (2, "a"), (3, "b"))],
        "text": ["A", "B", "C", "D"],
    }  # fmt: skip
    found = records(ParquetCaptions(root=str(write(tmp_path / "d/train.parquet", content))))
    assert {r.image_id: r.captions for r in found} == {"a": ("A", "B"), "a#2": ("C",), "b": ("D",)}


def test_pictures_travel_to_other_processes(tmp_path: Path):
    root = write(tmp_path / "d/x.parquet", rows(4))
    record = records(ParquetCaptions(root=str(root)))[0]
    before = record.image.read()
    assert pickle.loads(pickle.dumps(record.image)).read() == before


def test_a_second_run_remembers_where_they_lie(tmp_path: Path, monkeypatch):
    root = write(tmp_path / "d/x.parquet", rows(4), compression="none")
    first = records(ParquetCaptions(root=str(root)))[0].image.read()
    again = records(ParquetCaptions(root=str(root)))[0].image
    monkeypatch.setattr(again.shard, "_groups", lambda: pytest.fail("searched again"))
    assert again.read() == first
    for remembered in (tmp_path / "cache/captionlab").glob("*.npz"):
        remembered.write_bytes(b"damaged")
    assert records(ParquetCaptions(root=str(root)))[0].image.read() == first


def test_a_broken_picture_is_named_by_file_and_row(tmp_path: Path):
    content = rows(3)
    content["image"][1]["bytes"] = picture(1)[:200]
    content["image"][2]["bytes"] = None
    root = write(tmp_path / "d/x.parquet", content)
    broken = find_broken([r.image for r in records(ParquetCaptions(root=str(root)))])
    reasons = {str(image).split("/")[-1]: reason for image, reason in broken.items()}
    assert set(reasons) == {"x.parquet: row 1", "x.parquet: row 2"}
    assert "empty" in reasons["x.parquet: row 2"]


def test_names_in_place_of_pictures_are_matched(tmp_path: Path):
    write_images(tmp_path / "images", ["a.jpg", "b.jpg"])
    content = {"image_path": ["/m/a.jpg", "/m/b.jpg"], "caption": ["A", "B"]}
    write(tmp_path / "x.parquet", content)
    assert all(r.image.is_file() for r in records(ParquetCaptions(root=str(tmp_path))))


def test_an_image_folder_with_metadata_in_parquet(tmp_path: Path):
    write_images(tmp_path, ["a.jpg"])
    write(tmp_path / "metadata.parquet", {"file_name": ["a.jpg"], "text": ["A dog"]})
    assert records(ImageFolder(root=str(tmp_path)))[0].captions == ("A dog",)
    assert records(Auto(root=str(tmp_path)))[0].image == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.write_bytes(b"PAR1" + b"x" * 50 + b"PAR1"), r"x.parquet cannot be read"),
        (lambda f: f.write_bytes(f.read_bytes()[:-300]), r"x.parquet cannot be read"),
        (lambda f: f.write_bytes(b""), r"x.parquet cannot be read"),
        (lambda f: write(f, {"a": [1], "b": [2]}), r"no column 'image'"),
        (lambda f: write(f, {"image": [b"x"], "caption": [3]}), r"row 0: 'caption' must be text"),
        (lambda f: write(f.parent / "other/y.parquet", rows(2)), r"in several folders"),
    ],
    ids=["garbage", "cut", "empty", "columns", "type", "folders"],
)
def test_parquet_with_a_flaw_is_one_sentence(tmp_path: Path, change, sentence: str):
    root = write(tmp_path / "d/x.parquet", rows(3))
    change(root / "x.parquet")
    with pytest.raises(UserError, match=sentence):
        ParquetCaptions(root=str(root))


def test_a_parquet_file_changed_at_random_ends_well(tmp_path: Path):
    root = write(tmp_path / "d/x.parquet", rows(6), row_group_size=3)
    whole = (root / "x.parquet").read_bytes()
    draw = random.Random(1)
    for _ in range(60):
        content = bytearray(whole)
        for place in draw.sample(range(len(whole) // 2 if draw.random() < 0.5 else len(whole)), 3):
            content[place] ^= 1 << draw.randrange(8)
        (root / "x.parquet").write_bytes(content)
        with contextlib.suppress(UserError):
            find_broken([r.image for r in records(ParquetCaptions(root=str(root)))])


@pytest.mark.parametrize("name", ["../x.arrow", "/etc/passwd", "..", "none.arrow"])
def test_a_saved_folder_that_names_other_files_is_refused(tmp_path: Path, name: str):
    write_text(tmp_path / "state.json", json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(UserError, match="is nothing beside it"):
        SavedDataset(root=str(tmp_path))


def test_a_file_that_changes_meanwhile_is_not_read_further(tmp_path: Path):
    root = write(tmp_path / "d/x.parquet", rows(3))
    image = records(ParquetCaptions(root=str(root)))[0].image
    write(root / "x.parquet", rows(4))
    with pytest.raises(UserError, match="was changed while it was read"):
        image.read()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_file_that_is_cut_after_it_was_read_is_one_sentence(tmp_path: Path, compression: str):
    root = write(tmp_path / "d/x.parquet", rows(3), compression=compression)
    image = records(ParquetCaptions(root=str(root)))[0].image
    assert image.read()
    (root / "x.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="was changed while it was read"):
        image.read()
    (root / "x.parquet").unlink()
    with pytest.raises(UserError, match=r"x\.parquet cannot be read: No such file"):
        image.read()


def test_no_file_stays_open_between_two_pictures(tmp_path: Path):
    for number in range(5):
        write(tmp_path / f"d/train-{number}.parquet", rows(2, first=2 * number))
    found = records(ParquetCaptions(root=str(tmp_path / "d")))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert len({record.image.read() for record in found}) == 10
    opened = [str(place.resolve()) for place in Path("/proc/self/fd").glob("*")]
    assert not [place for place in opened if place.endswith(".parquet")]


@pytest.mark.parametrize(
    ("compression", "dense"),
    [("gzip", True), ("brotli", True), ("snappy", False)],
    ids=["gzip", "brotli", "pictures-of-one-color"],
)
def test_slow_files_are_named_once_with_the_way_out(tmp_path: Path, compression, dense, caplog):
    for number in range(3):
        content = rows(20, first=20 * number)
        for image in content["image"] if not dense else ():
            image["bytes"] = image["path"].encode() * 5000
        place = tmp_path / f"d/train-{number}.parquet"
        write(place, content, compression=compression, row_group_size=10)
    for record in records(ParquetCaptions(root=str(tmp_path / "d"))):
        record.image.read()
    said = [line for line in caplog.messages if "compresses its pictures" in line]
    assert len(said) == 1
    assert re.search(r"row group around it, about 10 rows, .* compression='none'", said[0])


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_loading_processes_read_each_picture_once_an_epoch(tmp_path: Path, compression: str):
    root = write(tmp_path / "d/x.parquet", rows(20), compression=compression, row_group_size=5)
    data = CaptionDataModule(
        name="x",
        source=ParquetCaptions(root=str(root)),
        tokenizer=partial(WordTokenizer.fit, threshold=1),
        image_size=16,
        batch_size=4,
        num_workers=2,
    )
    data.setup("fit")
    seen = {}
    for batch in data.train_dataloader():
        seen |= dict(zip(batch.image_ids, batch.images, strict=True))
    assert set(seen) == {record.image_id for record in data.records("train")}
    for record in data.records("train"):
        expected = prepare(read_record_image(record, 16), 16)
        assert torch.equal(seen[record.image_id], expected)


def test_more_rows_than_bytes_are_refused(tmp_path: Path):
    nothing = pa.nulls(2_000_000, pa.string())
    root = write(tmp_path / "d/x.parquet", {"image_path": nothing, "caption": nothing})
    with pytest.raises(UserError, match=r"says that it has 2,000,000 rows, in"):
        ParquetCaptions(root=str(root))


def test_a_picture_repeated_without_end_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("captionlab.core.parquet_files.MOST_BYTES", 10**6)
    content = {"image": [b"\0" * 10**5] * 50, "caption": ["A dog"] * 50}
    root = write(tmp_path / "d/x.parquet", content, use_dictionary=True)
    image = records(ParquetCaptions(root=str(root)))[0].image
    with pytest.raises(UserError, match=r"row group 0 have more than 1,000,000 bytes"):
        image.read()


@pytest.mark.parametrize("with_id", [True, False], ids=["id", "name"])
def test_a_picture_in_two_splits_is_refused(tmp_path: Path, with_id: bool):
    more = {"image_id": [7, 8]} if with_id else {}
    write(tmp_path / "train.parquet", {**rows(2), **more})
    write(tmp_path / "test.parquet", {**rows(2), **more})
    with pytest.raises(UserError, match=r"is of split 'train' here, and of 'test' at"):
        ParquetCaptions(root=str(tmp_path))


def test_other_pictures_of_the_same_names_may_be_in_another_split(tmp_path: Path):
    write(tmp_path / "train.parquet", rows(2))
    other = rows(2, first=5)
    for number, image in enumerate(other["image"]):
        image["path"] = f"{number}.jpeg"
    write(tmp_path / "test.parquet", other)
    source = ParquetCaptions(root=str(tmp_path))
    assert {s: len(source.records(s)) for s in source.splits} == {"train": 2, "test": 2}
