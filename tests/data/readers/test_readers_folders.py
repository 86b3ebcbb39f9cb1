"""Texts beside pictures, image folders, PASCAL's folders, conversations, and what looks at a folder."""

import json
import os
import re
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers import Auto, Conversations, ImageFolder, PascalSentences, Sidecars
from captionlab.data.records import CaptionSource
from captionlab.text.prompts import Prompt
from data_support import flickr8k, write_images, write_text


def captions(source: CaptionSource) -> dict[str, tuple[str, ...]]:
    return {str(r.image_id): r.captions for s in source.splits for r in source.records(s)}


def beside(
    root: Path, ending: str = ".txt", text: str = "A dog\nOne dog\n", folder: str = ""
) -> Path:
    names = [f"{folder}{n}.jpg" for n in "abcd"]
    for name in names:
        write_images((root / name).parent, [Path(name).name])
        write_text((root / name).with_suffix(ending), text)
    return root


@pytest.mark.parametrize(
    ("ending", "text", "how", "expected"),
    [
        (".txt", "A dog\n\nOne dog\n", {}, ("A dog", "One dog")),
        (".txt", "A dog\nOne dog\n", {"caption_per": "file"}, ("A dog One dog",)),
        (".caption", "A dog", {}, ("A dog",)),
        (".json", '{"caption": "A dog", "width": 8}', {}, ("A dog",)),
        (".json", '["A dog", "One dog"]', {}, ("A dog", "One dog")),
    ],
    ids=["lines", "whole", "caption", "json", "json-list"],
)
def test_a_text_beside_each_picture(tmp_path: Path, ending, text, how, expected):
    source = Sidecars(root=str(beside(tmp_path, ending, text)), **how)
    assert captions(source) == {f"{n}.jpg": expected for n in "abcd"}


def test_folders_are_splits_and_pictures_without_a_text_are_counted(tmp_path: Path, caplog):
    caplog.set_level("INFO", "captionlab")
    for split in ("train", "validation"):
        beside(tmp_path, folder=f"{split}/")
    write_images(tmp_path / "train", ["more.jpg"])
    source = Sidecars(root=str(tmp_path))
    assert {split: len(source.records(split)) for split in source.splits} == {"train": 4, "val": 4}
    assert "1 pictures without" in caplog.text


def test_a_text_goes_before_metadata_in_json(tmp_path: Path):
    beside(tmp_path, ".json", '{"caption": "no"}')
    assert captions(Sidecars(root=str(beside(tmp_path, text="A dog"))))["a.jpg"] == ("A dog",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: write_text(d / "a.caption", "A"), r"has two texts beside it.*ending=.txt"),
        (lambda d: write_images(d, ["a.png"]), r"a.txt may belong to a.jpg or to a.png"),
        (lambda d: (d / "a.txt").write_bytes(b"x" * 2**21), "too many to be a picture's captions"),
        (lambda d: (d / "a.txt").write_bytes(b"a\0b"), "holds a zero byte"),
        (lambda d: (d / "a.txt").write_bytes(b"\xff\xfe\x00"), "utf-8"),
        (lambda d: [f.unlink() for f in d.glob("*.txt")], "no text beside its pictures, such as a.txt"),
    ],
    ids=["two", "shared", "huge", "nul", "encoding", "none"],
)  # fmt: skip
def test_texts_with_a_flaw_are_named(tmp_path: Path, change, sentence: str):
    change(beside(tmp_path))
    with pytest.raises(UserError, match=sentence):
        Sidecars(root=str(tmp_path))


def test_a_text_that_is_a_link_out_of_the_root_is_not_read(tmp_path: Path):
    secret = write_text(tmp_path / "secret", "password")
    root = beside(tmp_path / "d")
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(secret)
    assert "password" not in str(captions(Sidecars(root=str(root))))


def test_links_in_a_circle_end(tmp_path: Path):
    (beside(tmp_path, folder="x/") / "x/again").symlink_to(tmp_path)
    assert len(captions(Sidecars(root=str(tmp_path)))) == 4


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
@pytest.mark.parametrize("place", ["", "pictures/"], ids=["root", "folder"])
def test_an_image_folder(tmp_path: Path, name: str, place: str):
    write_images(tmp_path / place / "in", [f"{n}.jpg" for n in "abcd"])
    rows = [{"file_name": f"in/{n}.jpg", "text": f"A {n}\n"} for n in "abcd"]
    lines = [json.dumps(row) for row in rows]
    if name.endswith("csv"):
        lines = ["file_name,text", *(f"{row['file_name']},A {row['file_name'][3]}" for row in rows)]
    write_text(tmp_path / place / name, "\n".join(lines))
    source = ImageFolder(root=str(tmp_path))
    assert captions(source)[f"{place}in/a.jpg"] == ("A a",)
    assert all(r.image.is_file() for s in source.splits for r in source.records(s))


def test_an_image_folder_with_a_metadata_file_a_split(tmp_path: Path):
    for split in ("train", "test"):
        write_images(tmp_path / split, ["a.jpg"])
        write_text(tmp_path / split / "metadata.jsonl", '{"file_name": "a.jpg", "text": "A dog"}')
    source = ImageFolder(root=str(tmp_path))
    assert source.splits == ("train", "test")
    assert source.records("test")[0].image == tmp_path / "test/a.jpg"


def test_metadata_that_leads_out_of_the_folder_is_refused(tmp_path: Path):
    write_text(tmp_path / "metadata.jsonl", '{"file_name": "../../etc/passwd", "text": "A"}')
    with pytest.raises(UserError, match=r"jsonl:1: '../../etc/passwd' leads out of data.root"):
        ImageFolder(root=str(tmp_path))


def test_pascal_sentences(tmp_path: Path):
    for number in range(4):
        write_images(tmp_path / "dataset/cat", [f"{number}.jpg"])
        write_text(tmp_path / f"sentence/cat/{number}.txt", "A cat .\nOne cat .\n")
    source = PascalSentences(root=str(tmp_path))
    assert captions(source)["dataset/cat/0.jpg"] == ("A cat .", "One cat .")


TALK = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}]
CHAT = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A dog."}]  # fmt: skip


@pytest.mark.parametrize(
    "item",
    [{"image": "a.jpg", "conversations": TALK}, {"images": ["a.jpg"], "messages": CHAT}],
    ids=["llava", "messages"],
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_the_answer_is_the_caption_and_the_question_is_kept(tmp_path: Path, item, ending: str):
    text = json.dumps([item, {"conversations": TALK}] if ending == "json" else item)
    write_text(tmp_path / f"chat.{ending}", text)
    source = Conversations(root=str(tmp_path), file=f"chat.{ending}")
    record = source.records("train")[0]
    assert (record.captions, record.prompts) == (("A dog.",), (Prompt("What?"),))


def test_each_caption_keeps_its_question_where_an_answer_is_empty(tmp_path: Path):
    write_images(tmp_path, ["a.jpg"])
    talks = [
        [("human", "<image>\nWhat is this?"), ("gpt", "A dog."), ("human", "Where?"), ("gpt", " ")],
        [("human", "Which\ncolor?"), ("gpt", "Brown."), ("gpt", "Or black.")],
    ]
    items = [
        {"image": "a.jpg", "conversations": [{"from": who, "value": what} for who, what in talk]}
        for talk in talks
    ]
    write_text(tmp_path / "captions.json", json.dumps(items))
    source = Conversations(root=str(tmp_path))
    (record,) = [record for split in source.splits for record in source.records(split)]
    questions = [prompt.question for prompt in record.prompts]
    assert dict(zip(record.captions, questions, strict=True)) == {
        "A dog.": "What is this?",
        "Brown.": "Which color?",
        "Or black.": "Which color?",
    }


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"image": "a.jpg"}, r"json: \[0\] is no conversation"),
        ({"image": "a.jpg", "conversations": [3]}, r"\[0\]: turn 0 is the number 3"),
        ({"images": ["a", "b"], "conversations": TALK}, r"is about 2 images"),
        ({"image": "a", "conversations": [{"from": "x", "value": "y"}]}, "has the speaker 'x'"),
        ({"image": "a", "conversations": [{"from": "gpt", "value": 3}]}, "'value' must be text"),
    ],
    ids=["none", "turn", "several", "speaker", "value"],
)
def test_a_conversation_with_a_flaw_gets_its_place(tmp_path: Path, item, sentence: str):
    write_text(tmp_path / "chat.json", json.dumps([item]))
    with pytest.raises(UserError, match=sentence):
        Conversations(root=str(tmp_path), file="chat.json")


# --- what looks at a folder --------------------------------------------------------------------------


def table(root: Path, name: str = "captions.csv") -> None:
    write_images(root, [f"{n}.jpg" for n in "abcd"])
    write_text(root / name, "image,caption\n" + "".join(f"{n}.jpg,A dog\n" for n in "abcd"))


def by_split(root: Path) -> None:
    write_images(root, [f"{n}.jpg" for n in "ab"])
    write_text(root / "train.csv", "image,caption\na.jpg,A dog\n")
    write_text(root / "val.csv", "image,caption\nb.jpg,A dog\n")


def chat(root: Path) -> None:
    write_images(root, ["a.jpg"])
    write_text(root / "llava.json", json.dumps([{"image": "a.jpg", "conversations": TALK}]))


def below(root: Path) -> None:
    write_images(root / "images", ["COCO_000001.jpg"])
    write_text(root / "annotations/c.json", '{"annotations": [{"image_id": 1, "caption": "A"}]}')


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (table, r"table captions.csv \(columns image, caption\), parted by ','; 4 pictures, 4 cap"),
        (by_split, r"tables train.csv, val.csv; 2 pictures, 2 captions; train 1, val 1"),
        (beside, r"a text beside each picture \(.txt; a caption a line\); 4 pictures, 8 captions"),
        (chat, r"conversations llava.json; 1 pictures, 1 questions, 1 answers; train 1 \(80/10/10"),
        (
            below,
            r"COCO annotations without the list of images, names matched by number; 1 pictures",
        ),
        (flickr8k, r"flickr8k is read from"),
    ],
    ids=["table", "splits", "sidecars", "conversations", "annotations", "published"],
)
def test_a_folder_is_read_and_one_line_says_how(tmp_path: Path, make, line: str, caplog):
    caplog.set_level("INFO", "captionlab")
    make(tmp_path)
    write_text(tmp_path / "README.md", "# About")
    write_text(tmp_path / "notes.txt", "These pictures are of dogs.\nThey are old.\n")
    source = Auto(root=str(tmp_path))
    assert source.records("train")
    assert any(re.search(line, record.getMessage()) for record in caplog.records)


def test_where_two_readings_fit_both_are_named(tmp_path: Path):
    table(tmp_path)
    table(tmp_path, "other.csv")
    with pytest.raises(UserError, match=r"2 ways: a table captions.csv \(data.source.file=capt"):
        Auto(root=str(tmp_path))
    assert captions(Auto(root=str(tmp_path), file="other.csv"))
    beside(tmp_path / "more")
    (tmp_path / "other.csv").unlink()
    with pytest.raises(UserError, match=r"data=sidecars\) or a table captions.csv"):
        Auto(root=str(beside(tmp_path)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda d: None, r"holds no captions that are known \(nothing\)"),
        (lambda d: write_images(d, ["a.jpg"]), r"holds no captions that are known \(a.jpg\)"),
        (lambda d: write_text(d / "x.csv", "foo,bar\n1,2\n"), r"no column|no header"),
        (lambda d: write_text(d / "x.json", "[1, 2"), r"breaks off"),
    ],
    ids=["empty", "pictures", "columns", "cut"],
)
def test_a_folder_that_cannot_be_read_is_explained(tmp_path: Path, make, sentence: str):
    make(tmp_path)
    with pytest.raises(UserError, match=sentence):
        Auto(root=str(tmp_path))


def test_other_tables_and_lists_of_classes_are_passed_over(tmp_path: Path):
    table(tmp_path)
    write_text(tmp_path / "classes.csv", "id,name,description\n1,dog,A kind of animal\n")
    write_text(tmp_path / "labels.txt", "a.jpg 0\nb.jpg 1\n")
    assert len(captions(Auto(root=str(tmp_path)))) == 4


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path):
    folder = os.fsencode(beside(tmp_path))
    with open(folder + b"/\xe9.jpg", "wb"):
        pass
    with pytest.raises(UserError, match=r"'\\udce9.jpg', whose name is not UTF-8: rename it"):
        Sidecars(root=str(tmp_path))
