"""Tables and JSON as people hold them: any header or none, any names, matched with the pictures."""

import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.json_tables import JsonCaptions
from captionlab.data.readers.matching import match_names
from captionlab.data.readers.plain_tables import TableCaptions
from captionlab.data.readers.tables import CsvCaptions, JsonlCaptions
from captionlab.data.records import CaptionSource
from data_support import write_images, write_text


def read(folder: Path, text: str, name: str = "captions.txt", **how) -> TableCaptions:
    write_text(folder / name, text)
    return TableCaptions(root=str(folder), file=name, **how)


def captions(source: CaptionSource) -> dict[str, tuple[str, ...]]:
    return {str(r.image_id): r.captions for s in source.splits for r in source.records(s)}


def images(source: CaptionSource) -> set[str]:
    return {r.image.name for s in source.splits for r in source.records(s)}


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg\tA dog, running\nb.jpg\tA cat\n",
        "\n\na.jpg,A dog, running\nb.jpg,A cat\n",
        "a.jpg|A dog, running\nb.jpg|A cat\n",
        "a.jpg A dog, running\nb.jpg A cat\n",
        "image,caption\na.jpg,A dog, running\nb.jpg,A cat\n",
        'image,caption\na.jpg,"A dog, running"\nb.jpg,A cat\n',
        "caption;file_name\nA dog, running;a.jpg\nA cat;b.jpg\n",
        "a.jpg#0\tA dog, running\nb.jpg#0\tA cat\n",
    ],
    ids=["tab", "comma", "bar", "blank", "bare-commas", "quoted", "semicolon", "flickr"],
)
def test_delimiter_and_header_are_seen(tmp_path: Path, text: str):
    assert captions(read(tmp_path, text)) == {"a.jpg": ("A dog, running",), "b.jpg": ("A cat",)}


def test_columns_without_header_are_told_by_number(tmp_path: Path):
    source = read(tmp_path, "1\tx\ta.jpg\tA dog\n", image_column=3, caption_column=4)
    assert captions(source) == {"a.jpg": ("A dog",)}
    with pytest.raises(UserError, match=r"txt:1: 4 cells, and no column 9"):
        read(tmp_path, "1\tx\ta.jpg\tA dog\n", image_column=3, caption_column=9)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("file_name,text", {}),
        ("id,kind,Text", {}),
        ("index,image_path,caption,mean", {}),
        ("a,where,what", {"image_column": "where", "caption_column": "what"}),
        ("image,caption_0,caption_1", {}),
    ],
    ids=["hub", "id", "path", "named", "several"],
)
def test_usual_columns_are_found_and_others_are_named(tmp_path: Path, header: str, columns: dict):
    names = header.split(",")
    row = [
        "a.jpg" if n in ("file_name", "id", "image_path", "where", "image") else n for n in names
    ]
    write_text(tmp_path / "captions.csv", f"{header}\n{','.join(row)}\n")
    found = captions(CsvCaptions(root=str(tmp_path), **columns))["a.jpg"]
    assert found == tuple(n for n in names if n[:4].lower() in ("text", "capt", "what"))


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("image,text,sentence", r"both 'text' and 'sentence' may be .*caption_column=text"),
        ("filename,filepath,caption", r"both 'filename' and 'filepath' may be the image_column"),
        ("foo,caption", r"no column 'image'.*\(columns: foo, caption\).*image_column"),
    ],
    ids=["two-captions", "two-images", "no-image"],
)
def test_columns_that_are_unclear_are_asked_for(tmp_path: Path, header: str, sentence: str):
    write_text(tmp_path / "captions.csv", f"{header}\na,b,c\n"[: -2 if header[0] == "f" else None])
    with pytest.raises(UserError, match=sentence):
        CsvCaptions(root=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "picture", "how"),
    [
        ("0000002a", "pictures/0000002a.jpg", "by stem"),
        ("/mnt/set/images/s_1.png", "images/s_1.png", "below another folder"),
        ("C:\\set\\s_1.png", "s_1.png", "below another folder"),
        ("https://host/x/s_1.png", "s_1.png", "below another folder"),
        ("42", "images/COCO_val2014_000000000042.jpg", "by number"),
        ("000042.jpg", "images/42.png", "by stem|by number"),
        ("A.JPG", "a.jpg", "below another folder"),
    ],
    ids=["stem", "prefix", "windows", "address", "number", "zeros", "case"],
)
def test_names_are_matched_with_the_pictures(tmp_path: Path, name, picture, how, caplog):
    caplog.set_level("INFO", "captionlab")
    write_images((tmp_path / picture).parent, [Path(picture).name, "other.jpg"])
    source = read(tmp_path, f"image\tcaption\tsplit\n{name}\tA dog\ttrain\n")
    assert source.records("train")[0].image == tmp_path / picture
    assert "names matched by" in caplog.text


def test_a_name_that_two_pictures_fit_is_refused(tmp_path: Path):
    write_images(tmp_path / "a", ["x.jpg"])
    write_images(tmp_path / "b", ["x.jpg"])
    with pytest.raises(UserError, match=r"txt:2: '/m/x.jpg' may be a/x.jpg or b/x.jpg"):
        read(tmp_path, "image\tcaption\n/m/x.jpg\tA dog\n")
    assert images(read(tmp_path, "image\tcaption\n/m/b/x.jpg\tA dog\n")) == {"x.jpg"}


def test_two_names_of_one_picture_are_refused(tmp_path: Path):
    write_images(tmp_path, ["x.jpg"])
    with pytest.raises(UserError, match=r"'/m/x.jpg' and '/n/x.jpg' may both be x.jpg"):
        read(tmp_path, "image\tcaption\n/n/x.jpg\tA dog\n/m/x.jpg\tA cat\n")


def test_names_that_lead_out_of_the_root_are_refused(tmp_path: Path):
    write_text(tmp_path / "secret.jpg", "x")
    with pytest.raises(UserError, match=r"txt:2: '\.\./secret\.jpg' leads out of data\.root"):
        read(tmp_path / "d", "image\tcaption\n../secret.jpg\tA dog\n")


def test_links_that_lead_out_of_the_root_are_not_followed(tmp_path: Path):
    write_images(tmp_path / "elsewhere", ["x.jpg"])
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to(tmp_path / "elsewhere")
    source = read(tmp_path / "d", "image\tcaption\n/m/x.jpg\tA dog\n")
    assert not source.records("train")[0].image.exists()


ARRAY = [
    {"filename": "a.jpg", "caption": ["A dog", "One dog"]},
    {"filename": "b.jpg", "caption": "A cat"},
]


@pytest.mark.parametrize(
    "data",
    [
        ARRAY,
        {"data": ARRAY, "version": 1},
        {"a.jpg": ["A dog", "One dog"], "b.jpg": "A cat"},
        {"a.jpg": {"captions": ["A dog", "One dog"]}, "b.jpg": {"captions": ["A cat"]}},
        {"train": ARRAY[:1], "val": ARRAY[1:]},
        {"image": ["a.jpg", "b.jpg"], "caption": [["A dog", "One dog"], "A cat"]},
        {"image": {"0": "a.jpg", "1": "b.jpg"}, "caption": {"0": ["A dog", "One dog"], "1": "A cat"}},
        {"images": [{"filename": "a.jpg", "sentences": [{"raw": "A dog"}, {"raw": "One dog"}]},
                    {"filename": "b.jpg", "sentences": [{"raw": "A cat"}]}]},
    ],
    ids=["array", "wrapped", "by-name", "objects", "splits", "columns", "frame", "karpathy"],
)  # fmt: skip
def test_json_in_every_form(tmp_path: Path, data: object):
    write_text(tmp_path / "captions.json", json.dumps(data))
    source = JsonCaptions(root=str(tmp_path))
    assert captions(source) == {"a.jpg": ("A dog", "One dog"), "b.jpg": ("A cat",)}


@pytest.mark.parametrize("with_images", [True, False], ids=["with-images", "without-images"])
def test_coco_annotations_with_and_without_the_list_of_images(tmp_path: Path, with_images: bool):
    names = {1: "000000000001.jpg", 2: "000000000002.jpg"}
    write_images(tmp_path / "train2017", names.values())
    data = {"annotations": [{"image_id": i, "caption": f"A {i}", "id": i} for i in names]}
    if with_images:
        data["images"] = [{"id": i, "file_name": name} for i, name in names.items()]
    write_text(tmp_path / "captions.json", json.dumps(data))
    source = JsonCaptions(root=str(tmp_path))
    assert captions(source) == {"1": ("A 1",), "2": ("A 2",)}
    assert images(source) == set(names.values())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "no rows"),
        ({}, "empty object"),
        (3, "holds the number 3, and no captions"),
        ([{"filename": "a.jpg"}], r"json: \[0\]: no key 'caption'"),
        ([{"filename": "a.jpg", "caption": 3}], r"json: \[0\]: 'caption' must be text or a list"),
        ({"a.jpg": 3}, r"'a.jpg' must give an image's captions"),
        ({"x": [{"a": 1}], "y": [{"a": 1}]}, r"several arrays of objects \(x, y\)"),
        ({"images": [{}], "annotations": [{"image_id": 1}]}, r"images\[0\] has no 'id'"),
        ([{"filename": "a\0.jpg", "caption": "A"}], "must be the name of a file"),
    ],
    ids=["empty", "nothing", "number", "no-caption", "bad", "value", "arrays", "coco", "nul"],
)
def test_json_with_a_flaw_gets_its_place(tmp_path: Path, data: object, sentence: str):
    write_text(tmp_path / "captions.json", json.dumps(data))
    with pytest.raises(UserError, match=sentence):
        JsonCaptions(root=str(tmp_path))


def test_jsonl_of_a_hub_with_named_keys(tmp_path: Path):
    write_text(tmp_path / "captions.jsonl", '{"url": "a.jpg", "words": "A dog"}\n')
    source = JsonlCaptions(root=str(tmp_path), image_column="url", caption_column="words")
    assert captions(source) == {"a.jpg": ("A dog",)}


def test_a_table_of_more_cells_without_header_is_asked_about(tmp_path: Path):
    with pytest.raises(UserError, match=r"3 cells and no header in .*image_column=1"):
        read(tmp_path, "a.jpg\tA dog\ttrain\n")


def test_names_that_fit_few_pictures_are_left_as_they_are(tmp_path: Path):
    write_images(tmp_path / "x", [f"{n}.jpg" for n in "abcdefgh"])
    lines = "".join(f"/m/{n}.jpg\tA dog\ttrain\n" for n in "apqrstuvw")
    source = read(tmp_path, f"image\tcaption\tsplit\n{lines}")
    assert not any(r.image.exists() for r in source.records("train"))


def test_a_link_out_of_the_folder_is_named_where_nothing_fits(tmp_path: Path):
    write_images(tmp_path / "elsewhere", ["a.jpg", "b.jpg"])
    (tmp_path / "d").mkdir()
    (tmp_path / "d/Images").symlink_to(tmp_path / "elsewhere")
    names = {"a.jpg": "line 1", "b.jpg": "line 2"}
    match = match_names(names, tmp_path / "d/captions.csv", tmp_path / "d")
    assert match.how == "links out of the folder not followed: Images"
    assert match.paths["a.jpg"] == tmp_path / "d/a.jpg"
