"""Sources of captions of the same images, joined: two languages, two styles."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers import Joined
from captionlab.data.records import CaptionRecord, Entry, Reader
from captionlab.data.scored_records import scored_records


def source(language: str, files: dict[str, str], root: Path, caption: str) -> Reader:
    entries = [
        Entry(split, name, root / name, [f"{caption} {name}"]) for name, split in files.items()
    ]
    return Reader(entries, language=language, origin=root)


SPLITS = {"a.jpg": "train", "b.jpg": "train", "c.jpg": "val"}


def test_one_image_of_two_languages_is_one_record(tmp_path: Path):
    english = source("en", SPLITS, tmp_path, "A dog")
    chinese = source("zh", {"a.jpg": "train", "c.jpg": "val", "d.jpg": "train"}, tmp_path, "狗")
    joined = Joined(sources={"en": english, "zh": chinese}, by="language")
    assert joined.language == "en+zh"
    assert joined.splits == ("train", "val")
    by_id = {record.image_id: record for record in joined.records("train")}
    assert by_id["a.jpg"].captions == ("A dog a.jpg", "狗 a.jpg")
    assert [prompt.language for prompt in by_id["a.jpg"].prompts] == ["en", "zh"]
    assert [prompt.language for prompt in by_id["b.jpg"].prompts] == ["en"]
    assert [prompt.language for prompt in by_id["d.jpg"].prompts] == ["zh"]
    assert len(by_id) == 3


def test_an_image_that_one_source_trains_on_and_another_scores_is_refused(tmp_path: Path):
    first = source("en", {"a.jpg": "train"}, tmp_path, "A dog")
    second = source("en", {"a.jpg": "val"}, tmp_path, "One dog")
    joined = Joined(sources={"ann": first, "bob": second}, by="style")
    with pytest.raises(UserError, match=r"a\.jpg stands in the splits 'train' and 'val'"):
        joined.records("train")


def test_authors_are_styles_of_one_language(tmp_path: Path):
    ann = source("en", SPLITS, tmp_path, "A dog")
    bob = source("en", SPLITS, tmp_path, "Look, a dog")
    joined = Joined(sources={"ann": ann, "bob": bob}, by="style")
    assert joined.language == "en"
    (record,) = joined.records("val")
    assert [prompt.style for prompt in record.prompts] == ["ann", "bob"]
    with pytest.raises(UserError, match="joins captions of en and zh: say by=language"):
        Joined(sources={"ann": ann, "bob": source("zh", SPLITS, tmp_path, "狗")}, by="style")


class Drawn:
    """A source that draws: images of another source are never the same."""

    language, splits = "en", ("train",)

    def records(self, split: str) -> list[CaptionRecord]:
        return [CaptionRecord("train-0", lambda: None, ("a red ball",))]


def test_drawn_images_of_two_sources_are_two():
    joined = Joined(sources={"one": Drawn(), "two": Drawn()}, by="style")
    assert len(joined.records("train")) == 2


def test_images_of_one_name_in_two_folders_keep_apart(tmp_path: Path):
    sources = {
        name: source("en", {"a.jpg": "train", "c.jpg": "val"}, tmp_path / name, name)
        for name in ("ann", "bob")
    }
    joined = Joined(sources=sources, by="style")
    ids = {str(r.image): r.image_id for split in joined.splits for r in joined.records(split)}
    assert ids == {
        str(tmp_path / "ann/a.jpg"): "a.jpg",
        str(tmp_path / "bob/a.jpg"): "bob-a.jpg",
        str(tmp_path / "ann/c.jpg"): "c.jpg",
        str(tmp_path / "bob/c.jpg"): "bob-c.jpg",
    }
    scored = scored_records(joined.records("val"))
    assert [one.stored_id for one in scored] == ["c.jpg", "bob-c.jpg"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"by": "langage"}, "data.source.by='langage': did you mean 'language'"),
        ({"sources": {}}, "data.source.sources names no source"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        Joined(**{"sources": {"one": Drawn()}, **arguments})
    with pytest.raises(UserError, match="no split 'tset'"):
        Joined(sources={"one": Drawn()}).records("tset")
