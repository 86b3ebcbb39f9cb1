import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.tables import CsvCaptions, JsonlCaptions
from data_support import write_images, write_text


def read_csv(folder: Path, text: str, **how) -> CsvCaptions:
    write_text(folder / "captions.csv", text)
    return CsvCaptions(root=str(folder), **how)


def test_rows_of_an_image_join(tmp_path: Path):
    text = "image,caption,split\na.jpg,A dog,train\nb.jpg,A cat,val\na.jpg,One dog,train\n"
    source = read_csv(tmp_path, text)
    assert source.splits == ("train", "val")
    assert [r.captions for r in source.records("train")] == [("A dog", "One dog")]
    assert source.records("val")[0].image_id == "b.jpg"


def test_quoted_cells_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path):
    text = 'image,caption,split\n"a.jpg","A dog, a ""big""\none",train\n'
    assert read_csv(tmp_path, text).records("train")[0].captions == ('A dog, a "big" one',)


@pytest.mark.parametrize(("name", "mark"), [("tab", "\t"), (";", ";"), ("|", "|")])
def test_other_delimiters(tmp_path: Path, name: str, mark: str):
    text = "image,caption,split\na.jpg,A dog,train\n".replace(",", mark)
    assert read_csv(tmp_path, text, delimiter=name).splits == ("train",)
    with pytest.raises(UserError, match=r"another delimiter: set data.source.delimiter="):
        read_csv(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "split"), [("dev", "val"), ("Validation", "val"), (" TRAIN ", "train"), ("odd", "odd")]
)
def test_split_names_of_others_are_understood(tmp_path: Path, name: str, split: str):
    assert read_csv(tmp_path, f"image,caption,split\na.jpg,A dog,{name}\n").splits == (split,)


def test_without_splits_the_names_decide(tmp_path: Path):
    rows = "".join(f"{i}.jpg,A dog\n" for i in range(40))
    source = read_csv(tmp_path, "image,caption\n" + rows)
    assert [len(source.records(s)) for s in source.splits] == [32, 4, 4]


def test_image_ids_are_numbers_where_they_read_as_numbers(tmp_path: Path):
    text = "image,caption,split,image_id\na.jpg,A,train,17\nb.jpg,B,train,007\nc.jpg,C,train,\n"
    ids = [record.image_id for record in read_csv(tmp_path, text).records("train")]
    assert ids == [17, "007", "c.jpg"]


def test_images_lie_below_the_root_or_beside_the_file(tmp_path: Path):
    file = write_text(tmp_path / "texts/my.csv", "image,caption,split\na.jpg,A dog,train\n")
    write_images(tmp_path / "photos", ["a.jpg"])
    source = CsvCaptions(file=str(file), root=str(tmp_path / "photos"))
    assert source.records("train")[0].image == tmp_path / "photos/a.jpg"
    write_images(tmp_path / "texts", ["a.jpg"])
    assert CsvCaptions(file=str(file)).records("train")[0].image == tmp_path / "texts/a.jpg"


def test_windows_paths_and_absolute_ones(tmp_path: Path):
    text = "image,caption,split\nin\\a.jpg,A dog,train\n"
    assert read_csv(tmp_path, text).records("train")[0].image == tmp_path / "in/a.jpg"
    text = "image,caption,split\n/there/a.jpg,A dog,train\n"
    assert read_csv(tmp_path, text).records("train")[0].image == Path("/there/a.jpg")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,words\na.jpg,A dog\n", r"csv:1: no column 'caption'.*data.source.caption_column"),
        ("image,image,caption\n", r"csv:1: the header names a column twice"),
        (
            "image,caption\n\na.jpg,A dog, a cat\n",
            r"csv:3: 3 cells where the header names 2.*quotes",
        ),
        ('image,caption\na.jpg,A\nb.jpg,"A dog\n', r"csv:3: unexpected end of data"),
        ('image,caption\na.jpg,"A" dog\n', r"csv:2: ',' expected"),
        ("image,caption\n,A dog\n", r"csv:2: the image is empty"),
        ("image,caption\n", r"no rows below its header"),
        ("image,caption\na.jpg,A\n/b.jpg,B\n", r"absolute image paths \(line 3\).*\(line 2\)"),
        ("image,caption,split\na.jpg,A,train\nb.jpg,B,\n", r"csv:3: no split here.*1 images"),
        ("image,caption,split\na.jpg,A,train\na.jpg,B,val\n", r"csv:3: a.jpg has split 'val'"),
        ("image,caption,image_id\na.jpg,A,1\nb.jpg,B,1\n", r"csv:3: image_id 1 belongs to a.jpg"),
        ("image,caption,image_id\na.jpg,A,1\na.jpg,B,2\n", r"csv:3: a.jpg has image_id '2' here"),
    ],
)
def test_a_csv_with_a_flaw_gets_file_and_line(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(UserError, match=sentence):
        read_csv(tmp_path, text)


def test_a_missing_file_names_the_key_and_the_nearest(tmp_path: Path):
    write_text(tmp_path / "caption.csv", "image,caption\n")
    with pytest.raises(UserError, match=r"data.source.file=captions.csv does not.*/caption.csv'"):
        CsvCaptions(root=str(tmp_path))


def test_a_csv_from_a_spreadsheet_in_another_encoding(tmp_path: Path):
    write_text(tmp_path / "captions.csv", "image,caption\na.jpg,Un chien étonné\n", "cp1252")
    with pytest.raises(UserError, match=r"\(line 2\); set data.source.encoding=cp1252"):
        CsvCaptions(root=str(tmp_path))
    assert CsvCaptions(root=str(tmp_path), encoding="cp1252").splits == ("train",)


def read_jsonl(folder: Path, *lines: object) -> JsonlCaptions:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    write_text(folder / "captions.jsonl", text)
    return JsonlCaptions(root=str(folder))


def test_jsonl_takes_one_caption_or_a_list(tmp_path: Path):
    source = read_jsonl(
        tmp_path,
        {"image": "a.jpg", "caption": "A dog", "split": "train", "image_id": 3},
        "",
        {"image": "b.jpg", "captions": ["一只狗", "狗"], "split": "train"},
        {"image": "c.jpg", "captions": "A cat", "split": "val"},
    )
    assert [(r.image_id, r.captions) for r in source.records("train")] == [
        (3, ("A dog",)),
        ("b.jpg", ("一只狗", "狗")),
    ]
    assert source.records("val")[0].image == tmp_path / "c.jpg"


GOOD = {"image": "a.jpg", "caption": "A dog"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            '{"image": "b.jpg", "capt',
            r"jsonl is cut in half: its JSON breaks off at line 2, column",
        ),
        ('{"image": b.jpg, "caption": "A big cat"}', r"jsonl is not JSON at line 2, column 11"),
        ([1], r"jsonl:2: expected an object"),
        ({"image": "b.jpg", "words": "A"}, r"jsonl:2: no key 'caption'.*\(keys: words\)"),
        ({"caption": "A"}, r"jsonl:2: no key 'image'"),
        (
            {"image": "b.jpg", "captions": ["A", 3]},
            r"'captions\[1\]' must be text, not the number 3",
        ),
        (
            {**GOOD, "image": "b.jpg", "image_id": [1]},
            r"jsonl:2: 'image_id' must be a whole number",
        ),
        ({**GOOD, "image_id": 1.5}, r"'image_id' must be a whole number .*, not the number 1\.5"),
        ({**GOOD, "split": 3}, r"jsonl:2: 'split' must be text, not the number 3"),
        ({**GOOD, "caption": None}, r"jsonl:2: caption is null"),
        ({**GOOD, "caption": float("nan")}, r"jsonl:2: 'caption' must be text .*not NaN"),
        ({**GOOD, "image": ""}, r"'image' must be the name of a file, not ''"),
        ({**GOOD, "image": "a\0.jpg"}, r"'image' must be the name of a file, not 'a\\x00.jpg'"),
        ({**GOOD, "caption": "half \ud83d"}, r"'caption' holds half of a character, \\ud83d"),
        ("[" * 100_000, r"jsonl:2 is nested too deeply"),
        ('{"image": ' + "1" * 5000 + "}", r"jsonl:2 is not JSON that can be read: Exceeds"),
    ],
)
def test_a_jsonl_with_a_flaw_gets_file_and_line(tmp_path: Path, line: object, sentence: str):
    with pytest.raises(UserError, match=sentence):
        read_jsonl(tmp_path, GOOD, line)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_named_jsonl_is_called_an_array(tmp_path: Path, indent: int | None):
    rows = [{"image": f"{i}.jpg", "caption": "A dog"} for i in range(3)]
    with pytest.raises(UserError, match=r"captions.jsonl is one JSON array, not JSON Lines: write"):
        read_jsonl(tmp_path, json.dumps(rows, indent=indent))


def test_a_coco_file_named_jsonl_is_called_one(tmp_path: Path):
    with pytest.raises(UserError, match=r"is a file in COCO's form, .*: data=coco reads"):
        read_jsonl(tmp_path, json.dumps({"images": [], "annotations": []}, indent=1))


@pytest.mark.parametrize("cell", ["nan", "NaN", "none", "None", "null", "NULL", " nan ", "<NA>"])
def test_a_data_frames_sign_for_no_value_is_no_caption(
    tmp_path: Path, cell: str, caplog: pytest.LogCaptureFixture
):
    rows = f"image,caption,split\na.jpg,A dog,train\na.jpg,{cell},train\nb.jpg,{cell},train\n"
    write_text(tmp_path / "captions.csv", rows + "c.jpg,none of them,train\n")
    source = CsvCaptions(root=str(tmp_path))
    texts = [record.captions for record in source.records("train")]
    assert texts == [("A dog",), ("none of them",)]
    assert "2 empty captions dropped, and 1 images that had no other" in caplog.text


def test_no_value_is_no_split_and_no_image_id_either(tmp_path: Path):
    write_text(tmp_path / "captions.csv", "image,caption,split,image_id\na.jpg,A dog,nan,nan\n")
    assert CsvCaptions(root=str(tmp_path)).records("train")[0].image_id == "a.jpg"


def test_two_names_of_one_image_in_two_splits_are_a_leak(tmp_path: Path):
    rows = "image,caption,split\na.jpg,A dog,train\nx/../a.jpg,A dog,val\n"
    write_text(tmp_path / "captions.csv", rows)
    with pytest.raises(UserError) as error:
        CsvCaptions(root=str(tmp_path))
    assert "a.jpg stands in two splits, 'train' (" in str(error.value)
    assert "captions.csv:2) and 'val' (" in str(error.value)


@pytest.mark.parametrize("delimiter", ['"', "\n", "", "ab"])
def test_a_delimiter_that_parts_no_cells_is_refused(tmp_path: Path, delimiter: str):
    write_text(tmp_path / "captions.csv", "image,caption\na.jpg,A dog\n")
    with pytest.raises(UserError, match=r"data.source.delimiter=.* is not one character"):
        CsvCaptions(root=str(tmp_path), delimiter=delimiter)


@pytest.mark.parametrize("encoding", ["base64", "rot13", "no-such", "a\0b"])
def test_an_encoding_that_gives_no_text_is_refused(tmp_path: Path, encoding: str):
    write_text(tmp_path / "captions.csv", "image,caption\na.jpg,A dog\n")
    with pytest.raises(UserError, match=r"data.source.encoding=.* is no encoding"):
        CsvCaptions(root=str(tmp_path), encoding=encoding)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("7", 7), ("0", 0), ("007", "007"), ("00", "00"), ("7" * 5000, "7" * 5000), ("٧", "٧")],
)
def test_a_number_that_keeps_its_digits_is_one(tmp_path: Path, given: str, kept: int | str):
    write_text(tmp_path / "captions.csv", f"image,caption,image_id\na.jpg,A dog,{given}\n")
    assert CsvCaptions(root=str(tmp_path)).records("train")[0].image_id == kept
