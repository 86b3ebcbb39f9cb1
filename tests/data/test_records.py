from pathlib import Path

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.data.records import CaptionRecord, Entry, Reader, drop_missing, hash_split


def reader(captions: list[str]) -> Reader:
    entries = [Entry("train", 1, Path("1.jpg"), captions), Entry("extra", 2, Path("2.jpg"), ["Hi"])]
    return Reader(entries, language="en", origin=Path("captions.txt"), splits=("train", "val"))


def test_captions_keep_their_text_and_lose_odd_white_space():
    records = reader(["  A\u2028dog\r\n runs\tfast . ", "Ein  Hund\x85läuft"]).records("train")
    assert records[0].captions == ("A dog runs fast .", "Ein Hund läuft")


def test_empty_captions_are_dropped_and_counted(caplog):
    source = reader(["", " \n", "A dog"])
    assert source.records("train")[0].captions == ("A dog",)
    assert "2 empty captions" in caplog.text


def test_an_image_without_any_text_goes_with_its_captions(caplog):
    with pytest.raises(UserError, match=r"split 'train' of captions.txt is empty"):
        reader(["", " "]).records("train")
    assert "1 images that had no other" in caplog.text


def test_splits_stand_in_the_usual_order():
    assert reader(["A dog"]).splits == ("train", "val", "extra")


def test_an_unknown_split_names_the_nearest_and_all_counts():
    with pytest.raises(UserError, match=r"no split 'trian': did you mean 'train'.*train 1, val 0"):
        reader(["A dog"]).records("trian")


def test_an_empty_split_says_what_is_there():
    with pytest.raises(UserError, match=r"'val' of captions.txt is empty \(images: train 1, val 0"):
        reader(["A dog"]).records("val")


def test_hash_split_is_80_10_10_whatever_the_order():
    names = [f"{i}.jpg" for i in range(200)]
    split = hash_split(names)
    counts = {name: list(split.values()).count(name) for name in ("train", "val", "test")}
    assert counts == {"train": 160, "val": 20, "test": 20}
    assert hash_split(reversed(names)) == split
    # the split of a data set must not change with a version of this program
    assert [n for n in names[:20] if split[n] == "val"] == ["2.jpg", "5.jpg", "6.jpg"]
    assert [n for n in names[:20] if split[n] == "test"] == ["9.jpg"]


@pytest.mark.parametrize("count", [3, 4, 5, 11])
def test_hash_split_leaves_no_split_of_a_small_set_empty(count: int):
    assert set(hash_split(f"{i}.jpg" for i in range(count)).values()) == {"train", "val", "test"}


def some_missing(folder: Path, present: int, missing: int) -> list[CaptionRecord]:
    for i in range(present):
        (folder / f"{i}.jpg").touch()
    return [CaptionRecord(i, folder / f"{i}.jpg", ("A dog",)) for i in range(present + missing)]


def test_missing_images_are_counted_and_the_first_five_named(tmp_path: Path):
    records = some_missing(tmp_path, 3, 7)
    with pytest.raises(UserError) as error:
        drop_missing(records, split="val")
    assert "7 of the 10 images of split 'val' are missing" in str(error.value)
    assert all(str(tmp_path / f"{i}.jpg") in str(error.value) for i in range(3, 8))
    assert "8.jpg" not in str(error.value)
    assert "data.missing_images=skip" in str(error.value)


def test_skipping_keeps_the_others_and_says_so_once(tmp_path: Path, caplog):
    kept = drop_missing(some_missing(tmp_path, 3, 7), policy="skip", split="val")
    assert [record.image_id for record in kept] == [0, 1, 2]
    assert len(caplog.records) == 1
    assert "7 of the 10 images of split 'val' are missing; 3 are left" in caplog.text


def test_skipping_everything_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="leaves nothing"):
        drop_missing(some_missing(tmp_path / "gone", 0, 4), policy="skip")


def test_an_unknown_policy_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"data.missing_images=skp: did you mean 'skip'"):
        drop_missing(some_missing(tmp_path, 1, 0), policy="skp")


def test_drawn_images_are_never_missing():
    record = CaptionRecord(1, lambda: np.zeros((4, 4, 3), np.uint8), ("A dog",))
    assert drop_missing([record]) == [record]
