"""Data with train and test alone: val comes out of train, and nothing of test is trained on."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from captionlab.data.readers import Auto
from captionlab.data.readers.division import HASHED, VAL_OF_TRAIN, divided
from captionlab.data.records import CaptionSource
from data_support import photo, write_images, write_text

TRAIN = [f"a{number}.png" for number in range(30)]
TEST = [f"b{number}.png" for number in range(6)]


def folders(root: Path) -> None:
    for split, names in {"train": TRAIN, "test": TEST}.items():
        write_images(root / split, names)


def beside(root: Path) -> None:
    folders(root)
    for picture in root.rglob("*.png"):
        write_text(picture.with_suffix(".txt"), f"picture {picture.stem}")


def metadata(root: Path) -> None:
    folders(root)
    for split, names in {"train": TRAIN, "test": TEST}.items():
        lines = [json.dumps({"file_name": name, "text": f"picture {name}"}) for name in names]
        write_text(root / split / "metadata.jsonl", "\n".join(lines))


def tables(root: Path) -> None:
    write_images(root / "images", [*TRAIN, *TEST])
    for split, names in {"train": TRAIN, "test": TEST}.items():
        rows = [f"{name},picture {name}" for name in names]
        write_text(root / f"{split}.csv", "\n".join(["image,caption", *rows]))


def column(root: Path) -> None:
    write_images(root, [*TRAIN, *TEST])
    rows = [
        f"{name},picture {name},{'train' if name in TRAIN else 'testing'}" for name in TRAIN + TEST
    ]
    write_text(root / "captions.csv", "\n".join(["image,caption,split", *rows]))


def shards(root: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root.mkdir(exist_ok=True)
    folders(root / "source")
    for split, names in {"train": TRAIN, "test": TEST}.items():
        data = [(root / "source" / split / name).read_bytes() for name in names]
        images = [{"bytes": one, "path": name} for one, name in zip(data, names, strict=True)]
        table = pa.table({"image": images, "caption": [f"picture {name}" for name in names]})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")


def names_of(source: CaptionSource) -> dict[str, set[str]]:
    return {
        split: {Path(str(record.image_id)).name for record in source.records(split)}
        for split in source.splits
    }


@pytest.mark.parametrize("write", [beside, metadata, tables, column, shards])
def test_val_is_taken_out_of_train_and_never_out_of_test(
    tmp_path: Path, write: Callable[[Path], None], caplog
):
    write(tmp_path / "data")
    caplog.set_level(logging.INFO, "captionlab")
    found = names_of(Auto(root=str(tmp_path / "data")))
    assert found["test"] == set(TEST)
    assert found["train"] | found["val"] == set(TRAIN)
    assert not found["train"] & found["val"]
    assert len(found["val"]) == 3
    lines = [line for line in caplog.messages if VAL_OF_TRAIN in line]
    assert len(lines) == 1
    assert "test 6" in lines[0]
    assert found == names_of(Auto(root=str(tmp_path / "data")))


def test_the_tenth_is_of_the_names_not_of_their_order():
    names = {**dict.fromkeys(TRAIN, "train"), **dict.fromkeys(TEST, "test")}
    backwards = dict(reversed(names.items()))
    assert divided(names)[0] == divided(backwards)[0]


@pytest.mark.parametrize(
    "given",
    [
        {"a": "train", "b": "train", "c": "train", "d": "val"},
        {"a": "train", "b": "train", "c": "train", "d": "val", "e": "test"},
        {"a": "train", "b": "train", "c": "test"},
        {"a": "train", "b": "train", "c": "train"},
        {"a": "test", "b": "test", "c": "test"},
    ],
    ids=["no-test", "all", "few", "train-alone", "test-alone"],
)
def test_other_divisions_stay_as_they_are(given: dict[str, str]):
    assert divided(given) == (given, "")


def test_names_without_splits_are_divided():
    split_of, words = divided(dict.fromkeys(TRAIN))
    assert sorted(split_of.values()) == ["test"] * 3 + ["train"] * 24 + ["val"] * 3
    assert words == HASHED


def test_an_id_of_two_kinds_moves_no_picture_out_of_test(tmp_path: Path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    photo(9, 9).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").unlink()
    for split, ids in {"train": list(range(30)), "test": [str(n) for n in range(9)]}.items():
        pictures = [data + str((split, one)).encode() for one in ids]
        table = pa.table({"image": pictures, "caption": ["a dog"] * len(ids), "image_id": ids})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    source = Auto(root=str(tmp_path))
    assert {type(record.image_id) for record in source.records("test")} == {str}
    assert len(source.records("test")) == 9
    assert sum(len(source.records(split)) for split in ("train", "val")) == 30
