"""What was written is what is read, to the last digit."""

from __future__ import annotations

import numpy as np
import pytest

from captionlab.errors import UserError
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
