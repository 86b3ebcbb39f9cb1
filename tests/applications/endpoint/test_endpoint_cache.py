import json
import os
from pathlib import Path

import pytest

from captionlab.applications.endpoint.cache import LARGEST_ENTRY, AnswerCache
from captionlab.core.errors import UserError

QUESTION = {"model": "m", "parameters": {"temperature": 0.5}, "picture": "ab"}


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path)


def test_a_kept_answer_is_read_back(cache: AnswerCache):
    assert cache.read(QUESTION) is None
    cache.write(QUESTION, "ein Hund, 一只狗 \U0001f415")
    assert cache.read(QUESTION) == "ein Hund, 一只狗 \U0001f415"
    assert cache.read({**QUESTION, "model": "n"}) is None
    assert cache.ignored == []
    assert [path.suffix for path in cache.path(QUESTION).parent.iterdir()] == [".json"]


def entry(**changes: object) -> str:
    return json.dumps({"format": 1, "question": QUESTION, "caption": "a dog"} | changes)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        entry(caption=3),
        entry(caption=""),
        entry(caption="a" * 10_001),
        entry(caption="a\x1b[2J dog"),
        entry(caption="a  dog"),
        entry(question={**QUESTION, "model": "n"}),
        entry(format=2),
        entry(more=1),
        " " * LARGEST_ENTRY + entry(),
        b"\xff\xfe".decode("latin-1"),
    ],
)
def test_an_entry_that_cannot_be_used_is_ignored_and_written_anew(cache: AnswerCache, content: str):
    cache.write(QUESTION, "a cat")
    path = cache.path(QUESTION)
    path.write_text(content, encoding="latin-1")
    assert cache.read(QUESTION) is None
    assert len(cache.ignored) == 1
    assert str(path) in cache.ignored[0]
    cache.write(QUESTION, "a dog")
    assert cache.read(QUESTION) == "a dog"


def test_a_pipe_and_a_link_are_neither_read_nor_written_into(cache: AnswerCache, tmp_path: Path):
    path, target = cache.path(QUESTION), tmp_path / "precious"
    target.write_text(entry())
    path.parent.mkdir()
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to(target)):
        make()
        assert cache.read(QUESTION) is None
        cache.write(QUESTION, "a cat")
        assert cache.read(QUESTION) == "a cat"
        path.unlink()
    assert target.read_text() == entry()


def test_a_folder_in_the_place_of_an_entry_stops_nothing(cache: AnswerCache):
    cache.path(QUESTION).mkdir(parents=True)
    assert cache.read(QUESTION) is None
    cache.write(QUESTION, "a dog")
    assert len(cache.ignored) == 2
    assert not list(cache.folder.rglob("*.tmp"))


def test_a_file_in_the_place_of_a_folder_stops_nothing(cache: AnswerCache):
    cache.path(QUESTION).parent.write_text("")
    assert cache.read(QUESTION) is None
    cache.write(QUESTION, "a dog")
    assert len(cache.ignored) == 2


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path):
    (tmp_path / "endpoint").write_text("")
    with pytest.raises(UserError, match=r"cannot be kept in .*CAPTIONLAB_CACHE"):
        AnswerCache(tmp_path)
