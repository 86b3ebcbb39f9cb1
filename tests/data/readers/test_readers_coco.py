import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.coco import CocoOfficial
from captionlab.data.readers.datasets import Coco
from captionlab.data.readers.karpathy import Karpathy
from captionlab.data.records import drop_missing
from data_support import CAPTIONS, coco_2014, coco_json, karpathy_json, write_images, write_text

TRAIN = "annotations/captions_train2014.json"


def test_official_files_give_train_and_val(tmp_path: Path):
    source = CocoOfficial(root=str(coco_2014(tmp_path)), year=2014)
    assert (source.language, source.splits) == ("en", ("train", "val"))
    record = source.records("val")[0]
    assert (record.image_id, record.captions) == (4, CAPTIONS)
    assert record.image == tmp_path / "val2014/COCO_val2014_000000000004.jpg"
    assert len(drop_missing(source.records("train"))) == 3


def test_2017_reads_its_own_files(tmp_path: Path):
    for split, number in {"train": 7, "val": 8}.items():
        file = tmp_path / f"annotations/captions_{split}2017.json"
        write_text(file, json.dumps(coco_json([number])))
        write_images(tmp_path / f"images/{split}2017", [f"{number:012d}.jpg"])
    source = CocoOfficial(root=str(tmp_path), year=2017)
    assert [r.image_id for r in drop_missing(source.records("val"))] == [8]
    assert [r.image_id for r in Coco(root=str(tmp_path)).records("train")] == [7]


def change(root: Path, **tables: list) -> Path:
    data = json.loads((root / TRAIN).read_text())
    return write_text(root / TRAIN, json.dumps(data | tables))


def test_half_an_annotation_file_gives_its_position(tmp_path: Path):
    file = coco_2014(tmp_path) / TRAIN
    write_text(file, file.read_text()[:300])
    with pytest.raises(UserError, match=r"captions_train2014.json is cut in half.*line 1, column"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_instances_are_no_captions(tmp_path: Path):
    change(coco_2014(tmp_path), annotations=[{"id": 1, "image_id": 1, "bbox": [], "area": 2}])
    with pytest.raises(UserError, match=r"no caption file: its annotations carry area, bbox, id"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_an_image_id_that_stands_twice_is_refused(tmp_path: Path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    change(coco_2014(tmp_path), images=images)
    with pytest.raises(UserError, match=r"image id 1 stands twice \(a.jpg, b.jpg\)"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_a_caption_of_an_unknown_image_is_refused(tmp_path: Path):
    change(coco_2014(tmp_path), annotations=[{"id": 1, "image_id": 99, "caption": "A dog"}])
    with pytest.raises(UserError, match=r"annotations\[0\] belongs to image 99, which is none of"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_images_without_captions_are_counted(tmp_path: Path):
    change(coco_2014(tmp_path), annotations=[{"id": 1, "image_id": 1, "caption": "A dog"}])
    with pytest.raises(UserError, match="lists 2 of 3 images without a caption: COCO_train2014_0"):
        CocoOfficial(root=str(tmp_path), year=2014)


@pytest.mark.parametrize("value", [[1, 2], {"info": {}, "licenses": []}, {"images": []}])
def test_any_other_json_is_refused(tmp_path: Path, value: object):
    write_text(coco_2014(tmp_path) / TRAIN, json.dumps(value))
    with pytest.raises(UserError, match=r"captions_train2014.json is no .*caption file"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_no_image_folder_names_it_and_the_layout(tmp_path: Path):
    coco_2014(tmp_path)
    for folder in tmp_path.glob("*2014"):
        folder.rename(folder.with_name(f"my_{folder.name}"))
    with pytest.raises(
        UserError, match=r"no image folder \(train2014.*my_train2014.*ROOT/train2014/"
    ):
        CocoOfficial(root=str(tmp_path), year=2014)


def karpathy_coco(root: Path) -> dict:
    splits = {f"COCO_val2014_{100 + i:012d}.jpg": s for i, s in enumerate(KARPATHY_SPLITS)}
    data = karpathy_json("coco", splits, "val2014")
    write_text(root / "dataset_coco.json", json.dumps(data))
    return data


KARPATHY_SPLITS = ("train", "restval", "val", "test")


def test_karpathys_restval_joins_train(tmp_path: Path):
    karpathy_coco(tmp_path)
    write_images(tmp_path / "val2014", [])
    source = Karpathy(root=str(tmp_path), dataset="coco")
    assert source.splits == ("train", "val", "test")
    assert [r.image_id for r in source.records("train")] == [100, 101]
    assert source.records("val")[0].captions == CAPTIONS
    assert source.records("test")[0].image == tmp_path / "val2014/COCO_val2014_000000000103.jpg"


def test_restval_can_stay_apart(tmp_path: Path):
    karpathy_coco(tmp_path)
    write_images(tmp_path / "val2014", [])
    source = Karpathy(root=str(tmp_path), dataset="coco", restval_in_train=False)
    assert source.splits == ("train", "val", "test", "restval")
    assert len(source.records("train")) == len(source.records("restval")) == 1


def test_photographs_of_2017_serve_karpathys_split(tmp_path: Path):
    karpathy_coco(tmp_path)
    write_images(tmp_path / "train2017", [f"{100 + i:012d}.jpg" for i in range(3)])
    write_images(tmp_path / "val2017", [f"{103:012d}.jpg"])
    source = Coco(root=str(tmp_path))
    for split in source.splits:
        assert drop_missing(source.records(split), split=split)


def test_karpathys_file_is_preferred_to_the_official_ones(tmp_path: Path):
    karpathy_coco(coco_2014(tmp_path))
    assert Coco(root=str(tmp_path)).splits == ("train", "val", "test")
    (tmp_path / "dataset_coco.json").unlink()
    assert Coco(root=str(tmp_path)).splits == ("train", "val")


def test_an_image_that_stands_twice_in_a_split_file_is_refused(tmp_path: Path):
    data = karpathy_coco(tmp_path)
    data["images"][3]["cocoid"] = 101
    write_text(tmp_path / "dataset_coco.json", json.dumps(data))
    write_images(tmp_path / "val2014", [])
    with pytest.raises(UserError, match=r"images\[1\] and images\[3\] are both 101"):
        Karpathy(root=str(tmp_path), dataset="coco")


def test_an_official_file_is_no_split_file(tmp_path: Path):
    write_text(tmp_path / "dataset_coco.json", json.dumps(coco_json([1])))
    with pytest.raises(UserError, match="is an official COCO file: use data=coco2014"):
        Karpathy(root=str(tmp_path), dataset="coco")


def test_a_split_file_without_sentences_is_refused(tmp_path: Path):
    data = karpathy_coco(tmp_path)
    del data["images"][2]["sentences"]
    write_text(tmp_path / "dataset_coco.json", json.dumps(data))
    with pytest.raises(UserError, match=r"images\[2\] has no 'sentences'"):
        Karpathy(root=str(tmp_path), dataset="coco")


def test_an_empty_folder_gets_the_whole_layout(tmp_path: Path):
    with pytest.raises(UserError, match=r"ROOT/dataset_coco.json.*captions_train2014.json.*2017"):
        Coco(root=str(tmp_path))


NO_TEXT = [None, float("nan"), 1.5, True, 7, ["a", "b"], {"raw": "a"}, "half \ud83d"]


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("field", ["caption", "file_name"])
def test_coco_fields_of_another_type_are_refused(tmp_path: Path, field: str, value: object):
    table = "annotations" if field == "caption" else "images"
    data = coco_json([1, 2, 3])
    data[table][1][field] = value
    change(coco_2014(tmp_path), **data)
    place = rf"captions_train2014.json: {table}\[1\]: '{field}' (must be text, not|holds half)"
    with pytest.raises(UserError, match=place):
        CocoOfficial(root=str(tmp_path), year=2014)


@pytest.mark.parametrize("value", [None, float("nan"), 1.5, True, [1], {"id": 1}])
@pytest.mark.parametrize(("table", "field"), [("images", "id"), ("annotations", "image_id")])
def test_coco_ids_of_another_type_are_refused(
    tmp_path: Path, table: str, field: str, value: object
):
    data = coco_json([1, 2, 3])
    data[table][0][field] = value
    change(coco_2014(tmp_path), **data)
    with pytest.raises(UserError, match=rf"{table}\[0\]: '{field}' must be a whole number or text"):
        CocoOfficial(root=str(tmp_path), year=2014)


def test_an_id_in_train_and_val_is_a_leak(tmp_path: Path):
    data = coco_json([4, 9])
    change(coco_2014(tmp_path), **data)
    with pytest.raises(UserError) as error:
        CocoOfficial(root=str(tmp_path), year=2014)
    sentence = str(error.value)
    assert "image id 4 stands in two splits, 'train' (" in sentence
    assert "captions_train2014.json: images[0]) and 'val' (" in sentence
    assert "captions_val2014.json: images[0])" in sentence


def karpathy(root: Path, **changed: object) -> Karpathy:
    data = karpathy_json("coco", {"a.jpg": "train", "b.jpg": "val"}, "train2014")
    data["images"][1] |= changed
    write_text(root / "dataset_coco.json", json.dumps(data))
    (root / "train2014").mkdir()
    return Karpathy(root=str(root), dataset="coco")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"filename": None}, r"images\[1\]: 'filename' must be text, not null"),
        ({"filename": ""}, r"images\[1\]: 'filename' must be the name of a file"),
        ({"filepath": 3}, r"images\[1\]: 'filepath' must be text, not the number 3"),
        ({"split": ["val"]}, r"images\[1\]: 'split' must be text, not the list \['val'\]"),
        ({"cocoid": {}}, r"images\[1\]: 'cocoid' must be a whole number or text"),
        ({"sentences": "a dog"}, r"images\[1\]: 'sentences' must be a list"),
        ({"sentences": [{"raw": "a"}, "b"]}, r"without 'raw' text \(sentences\[1\]\)"),
        ({"sentences": [{"raw": None}]}, r"sentences\[0\]: 'raw' must be text, not null"),
        ({"sentences": [{"raw": ["a"]}]}, r"sentences\[0\]: 'raw' must be text, not the list"),
        ({"filename": "a.jpg"}, r"a.jpg stands in two splits, 'train' \(.*images\[0\]\) and 'val'"),
    ],
)
def test_karpathys_fields_are_checked(tmp_path: Path, changed: dict[str, object], sentence: str):
    with pytest.raises(UserError, match=sentence):
        karpathy(tmp_path, **changed)
