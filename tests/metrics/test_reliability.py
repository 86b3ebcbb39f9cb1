"""How far stated chances can be relied on."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from captionlab.metrics.reliability import (
    accuracy_at,
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
    reliability_table,
    risk_coverage,
)


def judged(count=500, seed=0):
    rng = np.random.default_rng(seed)
    chances = rng.random(count)
    return chances, (rng.random(count) < chances**2).astype(float)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_equals_torchmetrics(bins):
    chances, right = judged()
    theirs = BinaryCalibrationError(n_bins=bins, norm="l1")
    expected = theirs(torch.tensor(chances), torch.tensor(right).long()).item()
    assert expected_calibration_error(chances, right, bins=bins) == pytest.approx(
        expected, abs=1e-6
    )


def test_adaptive_bins_hold_as_many_captions_each():
    chances, right = judged()
    table = reliability_table(chances, right, bins=10, kind="mass")
    assert [one.count for one in table] == [50] * 10
    by_hand = np.abs(
        np.sort(chances).reshape(10, 50).mean(1)
        - right[np.argsort(chances)].reshape(10, 50).mean(1)
    ).mean()
    error = expected_calibration_error(chances, right, bins=10, kind="mass")
    assert error == pytest.approx(by_hand)


def test_certain_chances_stay_in_the_last_bin():
    (one,) = reliability_table([1.0, 1.0], [1, 0])
    assert (one.high, one.count, one.accuracy) == (1.0, 2, 0.5)


def test_aurc_equals_its_definition():
    chances, right = judged(60)
    risks = []
    for chance in chances:  # keep what is at least as sure as this one
        kept = chances >= chance
        risks.append((1 - right[kept]).mean())
    assert area_under_risk_coverage(chances, right) == pytest.approx(np.mean(risks))


def test_aurc_of_ties_is_the_mean_of_random_orders():
    rng = np.random.default_rng(1)
    chances = rng.integers(0, 3, 12) / 4
    right = rng.integers(0, 2, 12)
    orders = [area_under_risk_coverage(chances + 1e-6 * rng.random(12), right) for _ in range(4000)]
    assert area_under_risk_coverage(chances, right) == pytest.approx(np.mean(orders), abs=0.01)


def test_order_of_captions_changes_nothing():
    chances, right = judged(200)
    chances = chances.round(1)
    mixed = np.random.default_rng(2).permutation(200)
    for measure in (area_under_risk_coverage, brier_score, expected_calibration_error):
        assert measure(chances[mixed], right[mixed]) == pytest.approx(measure(chances, right))


def test_full_coverage_has_the_share_of_wrong_captions_as_its_risk():
    chances, right = judged()
    coverage, risk = risk_coverage(chances, right)
    assert (coverage[-1], risk[-1]) == (1.0, pytest.approx(1 - right.mean()))
    assert accuracy_at(chances, right, 1.0) == pytest.approx(right.mean())
    assert accuracy_at([0.9, 0.1], [1, 0], 0.5) == 1.0


def test_brier_score_of_known_chances():
    assert brier_score([1.0, 0.5, 0.0], [1, 1, 1]) == pytest.approx((0 + 0.25 + 1) / 3)


@pytest.mark.parametrize("chances", [[], [1.5], [float("nan")], [[0.5]]])
def test_what_are_no_chances_is_refused(chances):
    with pytest.raises(ValueError, match=r"chances|columns"):
        brier_score(chances, np.ones(np.shape(chances)[:1]))
