"""Files of a run that someone else wrote, or half of which is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.runs.evaluation_folder import difference
from captionlab.runs.run import read_run
from captionlab.runs.run_files import read_captions, read_references, read_results
from captionlab.sweeps.jobs import read_score, require_same
from captionlab.training.loggers.table import read_table

PAIR = '{"image_id": 1, "caption": "a dog"}'


def test_what_is_not_there_is_empty(tmp_path: Path):
    assert read_captions(tmp_path / "x") == read_references(tmp_path / "x") == {}
    assert read_results(tmp_path / "x") == read_table(tmp_path / "x") == {}


def test_what_is_there_is_read(tmp_path: Path):
    (tmp_path / "c.json").write_text(f"[{PAIR}]")
    (tmp_path / "r.json").write_text(f'{{"annotations": [{PAIR}, {PAIR}]}}')
    assert read_captions(tmp_path / "c.json") == {1: "a dog"}
    assert read_references(tmp_path / "r.json") == {1: ["a dog", "a dog"]}


@pytest.mark.parametrize(
    "entries",
    [
        "",
        "{",
        "3",
        "[1]",
        "[null]",
        '[{"image_id": [1], "caption": "a"}]',
        '[{"image_id": 1}]',
        '[{"image_id": 1, "caption": null}]',
        "[" * 100_000,
        '"\\ud800"',
    ],
)
def test_entries_of_another_form_are_named(tmp_path: Path, entries: str):
    for read, form in ((read_captions, "{}"), (read_references, '{{"annotations": {}}}')):
        path = tmp_path / "file.json"
        path.write_text(form.format(entries))
        with pytest.raises(UserError, match=r"file\.json"):
            read(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff\xfe", b"{"])
def test_results_of_another_form_are_named(tmp_path: Path, content: bytes):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError, match=r"results\.json"):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"epoch,x\none,2\n", b"\xff\xfe", b"epoch\n\n" + b"1" * 5000]
)
def test_a_table_without_epochs_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv is no table of epochs"):
        read_table(tmp_path / "metrics.csv")


def test_rows_of_another_length_are_read_as_far_as_they_go(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "metrics.csv").write_text("epoch,val/cider\n0,0.5,7,8\n1\n2,0.25\n")
    assert read_run(tmp_path).curves == {"val/cider": [(0, 0.5), (2, 0.25)]}


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"{"])
def test_results_that_cannot_be_read_do_not_say_of_which_settings_they_are(
    tmp_path: Path, content: bytes
):
    (tmp_path / "results.json").write_bytes(content)
    assert difference(tmp_path, {}) == "they do not say which"


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"a: b: c"])
def test_what_a_job_left_is_named_where_it_is_no_yaml(tmp_path: Path, content: bytes):
    (tmp_path / "overrides.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"overrides\.yaml is no YAML: "):
        require_same(tmp_path, ["a=1"])
    (tmp_path / "score.json").write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match=r"score\.json holds no score of a job"):
        read_score(tmp_path / "score.json")
