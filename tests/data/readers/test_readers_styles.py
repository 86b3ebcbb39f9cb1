"""Styles: a column of a table, a key of JSON, whose name is given before the captions of its row."""

import json
import re
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers import (
    Auto,
    CsvCaptions,
    ImageFolder,
    JsonCaptions,
    JsonlCaptions,
    ParquetCaptions,
    Sidecars,
    TableCaptions,
)
from captionlab.data.readers.styles import LONGEST_STYLE, MOST_STYLES
from captionlab.data.records import CaptionSource
from captionlab.data.scored_records import scored_records
from captionlab.text.prompts import NO_PROMPT, Prompt, control_tokens
from captionlab.text.tokenizers import WordTokenizer
from data_support import write_images, write_text

TEXT = "image,caption,style\na.jpg,A dog.,terse\na.jpg,Look! A dog!, Ann  Lee\na.jpg,Dogs.,\n"
OBJECTS = [
    {"image": "a.jpg", "caption": "A dog.", "style": "terse"},
    {"image": "a.jpg", "caption": "Look! A dog!", "style": "Ann Lee"},
    {"image": "a.jpg", "caption": "Dogs.", "style": None},
]
STYLED = [("terse", "A dog."), ("Ann Lee", "Look! A dog!"), ("", "Dogs.")]


def styles(source: CaptionSource) -> list[tuple[str, str]]:
    """The (style, caption) of the only image."""
    (record,) = [record for split in source.splits for record in source.records(split)]
    return [(p.style, text) for p, text in zip(record.prompts, record.captions, strict=True)]


def csv(root: Path, text: str, **how) -> CsvCaptions:
    write_text(root / "captions.csv", text)
    return CsvCaptions(root=str(root), **how)


def jsonl(root: Path, *rows: object, **how) -> JsonlCaptions:
    write_text(root / "captions.jsonl", "\n".join(map(json.dumps, rows)))
    return JsonlCaptions(root=str(root), **how)


def test_a_column_style_is_read_in_every_form_of_a_table(tmp_path: Path):
    assert styles(csv(tmp_path, TEXT)) == STYLED
    assert styles(TableCaptions(root=str(tmp_path))) == STYLED
    assert styles(jsonl(tmp_path, *OBJECTS)) == STYLED
    write_text(tmp_path / "captions.json", json.dumps(OBJECTS))
    assert styles(JsonCaptions(root=str(tmp_path))) == STYLED
    columns = {key: [one[key] for one in OBJECTS] for key in OBJECTS[0]}
    write_text(tmp_path / "captions.json", json.dumps(columns))
    assert styles(JsonCaptions(root=str(tmp_path))) == STYLED


def test_captions_by_image_name_have_a_style_each(tmp_path: Path):
    data = {"a.jpg": {"captions": ["A dog.", "Dogs."], "style": "terse"}}
    write_text(tmp_path / "captions.json", json.dumps(data))
    expected = [("terse", "A dog."), ("terse", "Dogs.")]
    assert styles(JsonCaptions(root=str(tmp_path))) == expected
    data = {"a.jpg": {"caption": "A dog.", "author": "Ann"}, "b.jpg": "Dogs."}
    write_text(tmp_path / "captions.json", json.dumps(data))
    source = JsonCaptions(root=str(tmp_path), style_column="author")
    prompts = {r.image_id: r.prompts for split in source.splits for r in source.records(split)}
    assert prompts == {"a.jpg": (Prompt(style="Ann"),), "b.jpg": ()}
    with pytest.raises(UserError, match=r"no key 'autor': did you mean 'author'"):
        JsonCaptions(root=str(tmp_path), style_column="autor")


def test_another_column_is_named_and_none_is(tmp_path: Path):
    text = "image,comment,author,style\na.jpg,A dog.,Ann,terse\n"
    assert styles(csv(tmp_path, text)) == [("terse", "A dog.")]
    assert styles(csv(tmp_path, text, style_column="author")) == [("Ann", "A dog.")]
    assert csv(tmp_path, text, style_column="").records("train")[0].prompts == ()
    # a column of styles is none of captions, though it is called as one
    text = "image,sentence,comment\na.jpg,A dog.,Ann\n"
    assert styles(csv(tmp_path, text, style_column="comment")) == [("Ann", "A dog.")]
    write_text(tmp_path / "bare.tsv", "a.jpg\tAnn\tA dog.\n")
    how = {"image_column": 1, "caption_column": 3, "style_column": 2}
    assert styles(TableCaptions(root=str(tmp_path), file="bare.tsv", **how)) == [("Ann", "A dog.")]


def test_without_styles_there_are_no_prompts(tmp_path: Path):
    assert csv(tmp_path, "image,caption,style\na.jpg,A dog.,\n").records("train")[0].prompts == ()
    write_text(tmp_path / "captions.csv", "image,caption\na.jpg,A dog.\n")
    assert TableCaptions(root=str(tmp_path), style_column="").records("train")[0].prompts == ()


def test_questions_are_answered_in_styles(tmp_path: Path):
    text = (
        "image,question,answer,style,question_id\na.jpg,What?,dog,terse,7\na.jpg,What?,A dog.,,7\n"
    )
    text += "a.jpg,What?,It is a dog!,Ann,7\n"
    (record,) = csv(tmp_path, text).records("train")
    assert record.prompts == tuple(Prompt("What?", style, id="7") for style in ("terse", "", "Ann"))
    scored = {one.image_id: one.captions for one in scored_records([record])}
    assert scored == {"7: terse": ("dog",), "7": ("A dog.",), "7: Ann": ("It is a dog!",)}
    row = {"image": "a.jpg", "question": "What?", "answers": ["dog", "a dog"], "style": "terse"}
    (record,) = jsonl(tmp_path, row).records("train")
    assert record.prompts == (Prompt("What?", "terse"),) * 2


def test_a_style_may_be_a_number_as_that_of_an_author(tmp_path: Path):
    rows = [{"image": "a.jpg", "caption": "A dog.", "worker": 17}]
    assert styles(jsonl(tmp_path, *rows, style_column="worker")) == [("17", "A dog.")]


def test_a_named_key_may_be_absent_of_some_objects_and_not_of_all(tmp_path: Path):
    rows = [{"image": "a.jpg", "caption": "A dog.", "author": "Ann"}]
    rows.append({"image": "a.jpg", "caption": "Dogs."})
    expected = [("Ann", "A dog."), ("", "Dogs.")]
    assert styles(jsonl(tmp_path, *rows, style_column="author")) == expected
    with pytest.raises(UserError, match=r"no key 'autor'"):
        jsonl(tmp_path, *rows, style_column="autor")
    with pytest.raises(UserError, match=r"no column 'autor'.* or set data.source.style_column"):
        csv(tmp_path, TEXT, style_column="autor")
    with pytest.raises(UserError, match=r"column 'caption' holds the image or its text"):
        csv(tmp_path, TEXT, caption_column="caption", style_column="caption")


def test_data_auto_says_so_in_its_line(tmp_path: Path, caplog):
    caplog.set_level("INFO", "captionlab")
    write_images(tmp_path, ["a.jpg"])
    write_text(tmp_path / "captions.csv", TEXT)
    assert styles(Auto(root=str(tmp_path))) == STYLED
    line = r"\(columns image, style, caption\), .*; 1 pictures, 3 captions in 2 styles; train 1"
    assert any(re.search(line, record.getMessage()) for record in caplog.records)
    assert styles(Auto(root=str(tmp_path), style_column="style")) == STYLED
    assert "in 2 styles" in caplog.records[-1].getMessage()
    Auto(root=str(tmp_path), style_column="")
    assert "style" not in caplog.records[-1].getMessage()


def test_metadata_of_a_folder_and_texts_in_json_name_styles(tmp_path: Path):
    write_images(tmp_path / "folder", ["a.jpg"])
    row = {"file_name": "a.jpg", "text": "A dog.", "style": "terse", "author": "Ann"}
    write_text(tmp_path / "folder" / "metadata.jsonl", json.dumps(row))
    folder = str(tmp_path / "folder")
    assert styles(ImageFolder(root=folder)) == [("terse", "A dog.")]
    assert styles(ImageFolder(root=folder, style_column="author")) == [("Ann", "A dog.")]
    (tmp_path / "folder" / "metadata.jsonl").unlink()
    row = {"captions": ["A dog.", "Dogs."], "style": "terse", "author": "Ann"}
    write_text(tmp_path / "folder" / "a.json", json.dumps(row))
    assert styles(Sidecars(root=folder)) == [("terse", "A dog."), ("terse", "Dogs.")]
    assert styles(Auto(root=folder, style_column="author"))[0] == ("Ann", "A dog.")
    assert Sidecars(root=folder, style_column="").records("train")[0].prompts == ()
    with pytest.raises(UserError, match="style_column=autor: no JSON file beside a picture"):
        Sidecars(root=folder, style_column="autor")


def test_parquet_has_styles(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_images(tmp_path, ["a.jpg"])
    columns = {key: [one[key] for one in OBJECTS] for key in OBJECTS[0]}
    parquet.write_table(arrow.table(columns), tmp_path / "captions.parquet")
    assert styles(ParquetCaptions(root=str(tmp_path))) == STYLED
    source = ParquetCaptions(root=str(tmp_path), style_column="")
    assert source.records("train")[0].prompts == ()


@pytest.mark.parametrize(
    ("style", "sentence"),
    [
        (["a"], r":1: 'style' must be the name of a style, not the list"),
        ({"a": 1}, r":1: 'style' must be the name of a style, not the object"),
        (True, r":1: 'style' must be the name of a style, not true; .*style_column='' reads no"),
        (1.5, r":1: 'style' must be the name of a style, not the number 1.5"),
        ("half \ud800", r":1: 'style' holds half of a character"),
        (
            "x" * (LONGEST_STYLE + 1),
            r":1: 'style' has 101 characters \('xxx.*and the name of a sty",
        ),
        ("a\x00b", r":1: 'style' holds a character that cannot be seen, U\+0000: 'a\\x00b'"),
        ("a\x1b[31mb", r":1: 'style' holds a character that cannot be seen, U\+001B"),
        ("a\u202eb", r":1: 'style' holds a character that cannot be seen, U\+202E"),
    ],
)
def test_what_is_no_name_of_a_style_gets_its_place(tmp_path: Path, style: object, sentence: str):
    with pytest.raises(UserError, match=sentence) as error:
        jsonl(tmp_path, {"image": "a.jpg", "caption": "A dog.", "style": style})
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("cell", "style"),
    [
        ("x" * LONGEST_STYLE, "x" * LONGEST_STYLE),
        (" a\tb\u2028c ", "a b c"),
        ("nan", ""),
        ("<style:x>", "<style:x>"),
        (">", ">"),
        ("<answer>", "<answer>"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_names_are_kept_and_are_tokens_of_their_own(tmp_path: Path, cell: str, style: str):
    row = {"image": "a.jpg", "caption": "A dog.", "style": cell}
    (record,) = jsonl(tmp_path, row).records("train")
    assert (record.prompts or (NO_PROMPT,))[0].style == style
    others = [Prompt(style="x"), Prompt(style="answer"), Prompt("A dog.?"), Prompt(language="x")]
    controls = control_tokens([*others, *record.prompts])
    tokenizer = WordTokenizer.fit(["A dog runs on green grass."], threshold=1).with_controls(
        controls
    )
    assert tokenizer.styles == sorted({"x", "answer", *filter(None, [style])})
    ids = [tuple(tokenizer.encode_prompt(one)) for one in (*others, *record.prompts)]
    assert len(set(ids)) == len(ids)


def test_there_is_an_end_to_different_styles(tmp_path: Path):
    def table(count: int, header: str = "image,caption,style") -> str:
        return "\n".join([header, *(f"a.jpg,A dog {n}.,s{n}" for n in range(count))])

    csv(tmp_path, table(MOST_STYLES) + "\na.jpg,Again.,s0\n")
    sentence = (
        r"more than 1,000 different styles, the next one is 's1000' \(.*captions.csv:1002\): a"
    )
    with pytest.raises(UserError, match=sentence):
        csv(tmp_path, table(MOST_STYLES + 1))
    csv(tmp_path, table(MOST_STYLES + 1), style_column="")
