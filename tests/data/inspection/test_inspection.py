"""What is wrong with a data set is seen before training."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captionlab.data.inspection.captions import Lengths, markup, of_another_language
from captionlab.data.inspection.inspection import Inspection, inspect_source
from captionlab.data.inspection.pictures import describe_all, equal_groups, near_pairs
from captionlab.data.inspection.result import shown_captions
from captionlab.data.records import CaptionRecord
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import WordTokenizer


class Given:
    """Records of splits as they are given."""

    def __init__(self, language: str = "en", **splits: list[CaptionRecord]) -> None:
        self.language, self._groups = language, splits
        self.splits = tuple(splits)

    def records(self, split: str) -> list[CaptionRecord]:
        return self._groups[split]


def draw(folder: Path, name: str, seed: int, **how) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    path = folder / name
    Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).save(path, **how)
    return path


def records(folder: Path, *seeds: int, caption: str = "a dog runs on the grass") -> list:
    return [CaptionRecord(f"{s}.png", draw(folder, f"{s}.png", s), (caption,)) for s in seeds]


def inspected(language: str = "en", max_length: int = 40, **splits) -> Inspection:
    fit = partial(WordTokenizer.fit, threshold=1)
    return inspect_source(Given(language, **splits), fit=fit, max_length=max_length)


def test_sound_data_have_no_problem(tmp_path: Path):
    found = inspected(
        train=records(tmp_path, *range(10)),
        val=records(tmp_path, 20, 21),
        test=records(tmp_path, 30),
    )
    assert not found.problems
    assert not found.warnings
    assert found.facts["train"] == "10 images, 10 captions, 1.0 an image"
    assert found.facts["pictures"] == "13 read, 160 x 120 to 160 x 120 pixels"
    assert len(found.samples) == 13


def test_the_same_picture_in_two_splits_is_a_problem(tmp_path: Path):
    copy = tmp_path / "copy.png"
    train = records(tmp_path, 1, 2, 3)
    copy.write_bytes((tmp_path / "2.png").read_bytes())
    test = [CaptionRecord("copy", copy, ("a dog",))]
    found = inspected(train=train, val=records(tmp_path, 8, 9), test=test)
    assert len(found.problems) == 1
    assert "train 2.png = test copy" in found.problems[0]


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [((), "split 'val' is empty"), ((9,), "split 'val' has 1 image")],
    ids=["empty", "one"],
)
def test_a_val_that_cannot_be_scored_is_a_problem(tmp_path: Path, seeds, sentence: str):
    found = inspected(train=records(tmp_path, 1, 2), val=records(tmp_path, *seeds))
    assert any(sentence in problem for problem in found.problems)
    assert any("no split 'test'" in warning for warning in found.warnings)


def test_a_picture_saved_again_is_a_near_duplicate(tmp_path: Path):
    paths = [draw(tmp_path, f"{seed}.png", seed) for seed in range(30)]
    paths += [draw(tmp_path, "again.jpg", 3, quality=60), draw(tmp_path, "3b.png", 3)]
    with Image.open(tmp_path / "4.png") as image:
        image.resize((80, 60)).save(tmp_path / "small.png")
    paths.append(tmp_path / "small.png")
    facts = describe_all(paths)
    assert equal_groups(facts) == [[3, 31]]
    assert near_pairs(facts) == [(3, 30), (4, 32), (30, 31)]


def test_pictures_of_one_color_are_alike_in_nothing(tmp_path: Path):
    for shade in range(4):
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    assert near_pairs(describe_all(sorted(tmp_path.iterdir()))) == []


def test_a_broken_picture_and_one_too_large_are_named(tmp_path: Path, monkeypatch):
    (tmp_path / "x.png").write_bytes(draw(tmp_path, "y.png", 1).read_bytes()[:900])
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    broken = [one.broken for one in describe_all([tmp_path / "x.png", tmp_path / "bomb.png"])]
    assert broken[0] is not None
    assert "too large to be a photograph" in str(broken[1])


def test_unknown_words_and_what_max_length_cuts_are_counted(tmp_path: Path):
    train = records(tmp_path, 1, 2, 3)
    val = records(tmp_path, 4, 5, caption="a zebra runs")
    found = inspected(train=train, val=val, test=[], max_length=4)
    assert found.facts["unknown val"] == "33.33% of the running tokens"
    assert "data.max_length=4 cuts 3 (100.0%)" in found.facts["length"]
    assert any("set it to 6 or so" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "caption",
    [
        "<b>A dog</b>",
        "A dog &amp; a cat",
        "see https://x.y/z",
        "A dog\\n",
        "<|endoftext|>",
        "[[A]]",
    ],
    ids=["tag", "entity", "address", "escape", "token", "wiki"],
)
def test_markup_is_seen(caption: str):
    assert markup([caption])
    assert not markup(["A dog < 3 years & a cat [left]."])


@pytest.mark.parametrize(
    ("caption", "language", "other"),
    [
        ("一只狗在跑", "en", "Cjk"),
        ("A dog runs", "zh", "Latin"),
        ("একটি লাল বল", "en", "Bengali"),
        ("Ein Hund mit dem Ball auf der Wiese", "en", "de"),
        ("A dog with the ball on the grass", "de", "en"),
        ("A dog with the ball on the grass", "en", None),
        ("Two dogs", "en", None),
        ("42", "en", None),
        ("Ein Hund mit Ball", "xx", None),
    ],
)
def test_captions_of_another_language_are_seen(caption: str, language: str, other: str | None):
    assert of_another_language([caption], language) == ([(caption, other)] if other else [])


def test_questions_are_counted_and_ten_equal_answers_are_no_finding(tmp_path: Path):
    asked = Prompt(question="Is it a dog?", id=7)
    where = Prompt(question="Where?", id=8)
    train = [
        CaptionRecord(
            number,
            draw(tmp_path, f"{number}.png", number),
            ("yes",) * 10 + ("left", "on the right side"),
            (asked,) * 10 + (where,) * 2,
        )
        for number in range(3)
    ]
    found = inspected(train=train, val=records(tmp_path, 20, 21), test=records(tmp_path, 30))
    assert found.splits["train"].questions == 6
    assert "3 images, 6 questions, 36 answers, 6.0 a question" in str(found)
    assert "1 images, 1 captions, 1.0 an image" in str(found)
    assert not any("stand twice" in text for text in found.warnings)
    assert shown_captions(train[0]) == [
        "Is it a dog? yes",
        "Where? left",
        "Where? on the right side",
    ]
    assert any("Is it a dog? yes" in line for line in found.lines())


def test_lengths_are_summarized():
    assert Lengths.of([3, 9, 5, 12, 4], 8) == Lengths(3, 5, 12, 2, 5, 8)


def test_styles_and_languages_are_counted_as_questions_are():
    def drawn(number: int, *prompts: Prompt) -> CaptionRecord:
        texts = tuple(f"a dog runs on the grass {i % 2}" for i in range(len(prompts)))
        return CaptionRecord(number, lambda: None, texts, prompts)

    terse, ann = Prompt(style="terse"), Prompt(style="Ann", language="en")
    found = inspected(train=[drawn(1, terse, ann, terse, terse)], val=[drawn(2, Prompt("What?"))])
    size = found.splits["train"]
    assert (size.styles, size.languages) == ({"terse": 3, "Ann": 1}, {"en": 1})
    assert str(size) == (
        "1 images, 4 captions, 4.0 an image, 1 language (en 1), 2 styles (terse 3, Ann 1)"
    )
    assert not found.splits["val"].styles
    # the first and the third are one caption of one style; the second and the fourth are not
    assert any("1 captions stand twice" in warning for warning in found.warnings)
    (train,) = [record for split, record in found.samples if split == "train"]
    assert shown_captions(train) == [
        "[terse] a dog runs on the grass 0",
        "[en, Ann] a dog runs on the grass 1",
        "[terse] a dog runs on the grass 1",
    ]


def test_of_many_styles_the_most_frequent_are_named():
    prompts = tuple(Prompt(style=f"s{number}") for number in range(1000))
    record = CaptionRecord(1, lambda: None, ("a dog runs on the grass",) * 1000, prompts)
    (size,) = [inspected(train=[record]).splits["train"]]
    assert str(size).endswith("1,000 styles (s0 1, s1 1, s10 1, s100 1, s101 1, ...)")
