"""WUPS and WordNet's similarity: by rules on a small WordNet, and against NLTK and WUPS' own script.

``wups_cases.json`` was made with WordNet 3.0: NLTK 3.10's similarity of words, and what
calculate_wups.py gives at 0.9 and at 0.0. Those tests need WordNet (``captionlab[wups]``).
"""

import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.metrics import CaptionMetrics, SplitScorer
from captionlab.metrics.bootstrap import intervals
from captionlab.metrics.wordnet import FOLDER_VARIABLE, Nouns, find_wordnet, noun_similarity
from captionlab.metrics.wups import wups

CASES = json.loads(Path(__file__).with_name("wups_cases.json").read_text(encoding="utf-8"))

# number, first word, synsets above
SMALL = {
    "00000001": ("entity", ()),
    "00000002": ("animal", ("00000001",)),
    "00000003": ("dog", ("00000002",)),
    "00000004": ("cat", ("00000002",)),
    "00000005": ("chair", ("00000001",)),
    "00000006": ("Trash_can", ("00000005",)),
    "00000007": ("cat", ("00000005",)),
}
INDEX = {
    "animal": ["00000002"],
    "beast": ["00000002"],
    "cat": ["00000004", "00000007"],
    "chair": ["00000005"],
    "dog": ["00000003"],
    "entity": ["00000001"],
    "trash_can": ["00000006"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A WordNet of seven synsets."""
    data = ["  1 This software and database is being provided to you"]
    for number, (word, above) in SMALL.items():
        pointers = " ".join(f"@ {one} n 0000" for one in above)
        data.append(
            f"{number} 03 n 01 {word} 0 {len(above):03d} {pointers} | a gloss; @ 00000009 n"
        )
    index = [
        f"{word} n {len(numbers)} 1 @ {len(numbers)} 1 {' '.join(numbers)}  "
        for word, numbers in INDEX.items()
    ]
    (tmp_path / "data.noun").write_text("\n".join(data) + "\n")
    (tmp_path / "index.noun").write_text("\n".join(["  1 This software", *index]) + "\n")
    (tmp_path / "noun.exc").write_text("kine cat\n")
    return tmp_path


def test_similarity_is_twice_the_shared_depth_over_both(folder: Path):
    near = Nouns(folder).similarity
    # entity 1, animal 2, dog 3, cat 3
    assert near("dog", "cat") == pytest.approx(2 * 2 / (3 + 3))
    assert near("dog", "chair") == pytest.approx(2 * 1 / (3 + 2))
    assert near("beast", "animal") == 1.0
    assert near("dog", "unicorn") is None
    # the other meaning of cat lies below chair
    assert near("cat", "chair") == pytest.approx(2 * 2 / (3 + 2))


def test_plurals_and_capitals_are_looked_up(folder: Path):
    nouns = Nouns(folder)
    assert nouns.synsets("Dogs") == nouns.synsets("dog") == ["00000003"]
    assert nouns.synsets("kine") == nouns.synsets("cat")
    assert nouns.synsets("trash_cans") == ["00000006"]
    assert nouns.synsets("s") == []


def test_a_wordnet_that_is_named_must_be_one(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert find_wordnet() == folder
    assert noun_similarity("en")("dog", "dogs") == 1.0
    assert noun_similarity("zh") is None
    (folder / "index.noun").unlink()
    with pytest.raises(UserError, match=r"WNSEARCHDIR=.* is no folder .*: it has no index.noun"):
        find_wordnet()


@pytest.mark.parametrize("name", ["data.noun", "index.noun"])
def test_a_damaged_file_is_named(folder: Path, name: str):
    (folder / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=name):
        Nouns(folder).similarity("dog", "cat")


@pytest.mark.parametrize("above", ["00000077", "00000003"], ids=["nowhere", "circle"])
def test_synsets_that_lead_nowhere_are_a_damaged_file(folder: Path, above: str):
    text = (folder / "data.noun").read_text().replace("@ 00000002 n", f"@ {above} n")
    (folder / "data.noun").write_text(text)
    with pytest.raises(UserError, match="do not fit each other or are damaged"):
        Nouns(folder).similarity("dog", "dog")


NEAR = {("cup", "mug"): 0.95, ("cup", "book"): 0.4, ("lamp", "light"): 0.92}


def near(word: str, other: str) -> float | None:
    return NEAR.get((word, other), NEAR.get((other, word)))


@pytest.mark.parametrize(
    ("answer", "reference", "at_09", "at_00"),
    [
        ("cup", "cup", 1, 1),
        ("Cup", "cup", 1, 1),
        ("cup", "mug", 0.95, 0.95),
        ("cup", "book", 0.04, 0.4),
        ("cup", "3", 0, 0),
        ("cup, lamp", "light, mug", 0.95 * 0.92, 0.95 * 0.92),
        ("cup lamp", "light, mug", 0.95 * 0.92, 0.95 * 0.92),
        ("lamp, cup", "cup,lamp", 1, 1),
        ("cup", "mug, book", 0.95 * 0.04, 0.95 * 0.4),
        ("room divider", "room_divider", 1, 1),
        ("", "cup", 0, 0),
    ],
)
def test_wups_of_one_answer(answer: str, reference: str, at_09: float, at_00: float):
    assert wups(answer, [reference], near, 0.9) == pytest.approx(at_09)
    assert wups(answer, [reference], near, 0.0) == pytest.approx(at_00)


def test_of_several_references_the_best_counts():
    assert wups("cup", ["book", "mug"], near, 0.9) == 0.95


def test_wups_is_a_score_of_answers_with_an_interval():
    references = {i: ["mug" if i % 2 else "book"] for i in range(40)}
    scorer = SplitScorer(references, str.split, answers=True, similarity=near)
    scores = scorer(dict.fromkeys(references, "cup"))
    assert scores.corpus["wups_09"] == pytest.approx((0.95 + 0.04) / 2)
    assert scores.per_image[0]["wups_00"] == pytest.approx(0.4)
    low, high = intervals(scores.statistics)["wups_09"]
    assert low < scores.corpus["wups_09"] < high


def test_wups_is_left_out_without_wordnet_and_its_name_reads_no_file():
    def fails(*words):
        raise AssertionError(words)

    with_it = CaptionMetrics(str.split, answers=True, similarity=fails).names(sets=False)
    without = CaptionMetrics(str.split, answers=True).names(sets=False)
    assert with_it - without == {"wups_09", "wups_00"}


@pytest.fixture(scope="module")
def nouns() -> Nouns:
    folder = find_wordnet()
    if folder is None:
        pytest.skip("WordNet is not on this machine")
    return Nouns(folder)


def test_similarity_is_that_of_nltk(nouns: Nouns):
    assert len(CASES["similarity"]) > 300
    for word, other, expected in CASES["similarity"]:
        assert nouns.similarity(word, other) == pytest.approx(expected), (word, other)


def test_wups_is_that_of_its_script(nouns: Nouns):
    assert len(CASES["wups"]) > 100
    for answer, reference, at_09, at_00 in CASES["wups"]:
        for threshold, expected in ((0.9, at_09), (0.0, at_00)):
            ours = wups(answer, [reference], nouns.similarity, threshold)
            assert ours == pytest.approx(expected, abs=1e-9), (answer, reference)
