"""What was written is what is read, to the last digit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.metrics.bootstrap import Statistic, intervals
from captionlab.metrics.statistics_file import StatisticsFile, write_statistics

RANDOM = np.random.default_rng(3)


def test_scores_and_their_images_come_back(tmp_path):
    before = {
        "cider": Statistic(RANDOM.random((7, 1))),
        "meteor": Statistic(RANDOM.random((7, 1)), shift=0.25),
        "bleu_4": Statistic(RANDOM.integers(1, 9, (7, 10)).astype(float), "bleu_4"),
    }
    ids = [3, "a.jpg", 10, "b", "c", "d", "e"]
    write_statistics(tmp_path / "x.npz", ids, before)
    after = StatisticsFile(tmp_path / "x.npz")
    assert after.image_ids == ids
    assert "cider" in after
    assert "loss" not in after
    assert intervals({name: after[name] for name in before}) == intervals(before)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "x.npz"
    write_statistics(path, [1], {"cider": Statistic(np.ones((1, 1)))})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"x\.npz is damaged"):
        StatisticsFile(path)
    path.write_text("no arrays")
    with pytest.raises(UserError, match=r"x\.npz is damaged"):
        StatisticsFile(path)


def rewrite(path, about: object, **arrays: np.ndarray) -> None:
    text = about if isinstance(about, str) else json.dumps(about)
    np.savez(path, about=np.array(text), **arrays)


GOOD = {"image_ids": [1, 2], "kinds": {"cider": "mean"}, "shifts": {}}


@pytest.mark.parametrize(
    "about",
    [
        "{",
        "[" * 100_000,
        [],
        {},
        {**GOOD, "image_ids": 3},
        {**GOOD, "image_ids": [[1], 2]},
        {**GOOD, "kinds": {"cider": ["mean"]}},
        {**GOOD, "kinds": []},
        {**GOOD, "shifts": {"cider": "1"}},
    ],
)
def test_entries_of_another_type_are_damage(tmp_path, about):
    rewrite(tmp_path / "x.npz", about, cider=np.ones((2, 1)))
    with pytest.raises(UserError, match=r"x\.npz is damaged"):
        StatisticsFile(tmp_path / "x.npz")


def test_a_kind_that_is_not_known_is_named(tmp_path):
    rewrite(tmp_path / "x.npz", {**GOOD, "kinds": {"cider": "__class__"}}, cider=np.ones((2, 1)))
    with pytest.raises(UserError, match=r"x\.npz: .*'cider' is of kind '__class__', which"):
        StatisticsFile(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "values",
    [
        np.ones((3, 1)),
        np.ones((2, 2)),
        np.ones(2),
        np.array([[1.0], [np.nan]]),
        np.array([["a"], ["b"]]),
        np.array([[None], [1]], dtype=object),
    ],
)
def test_values_that_do_not_fit_are_damage(tmp_path, values: np.ndarray):
    rewrite(tmp_path / "x.npz", GOOD, cider=values)
    with pytest.raises(UserError, match=r"x\.npz is damaged"):
        StatisticsFile(tmp_path / "x.npz")["cider"]
