"""A caption's chance of being right."""

import json

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.metrics.calibration import MOST_BYTES, Calibration
from captionlab.metrics.reliability import expected_calibration_error


def captions(count=4000, seed=0, temperature=2.5, bias=0.7, length_weight=0.0):
    """Log-probabilities, lengths and judgments drawn from a known calibration."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 20, count)
    log_probs = -rng.gamma(2.0, 0.1, count) * lengths
    truth = Calibration("mean_log_odds", temperature, bias, length_weight)
    right = rng.random(count) < truth.probabilities(log_probs, lengths)
    return log_probs, lengths, right


def test_fit_recovers_the_temperature_that_judgments_were_drawn_from():
    fitted = Calibration.fit(*captions())
    assert fitted.feature == "mean_log_odds"
    assert fitted.temperature == pytest.approx(2.5, rel=0.15)
    assert fitted.bias == pytest.approx(0.7, abs=0.25)


def test_length_counts_where_it_predicts():
    fitted = Calibration.fit(*captions(bias=3.0, length_weight=-0.3))
    assert fitted.length_weight == pytest.approx(-0.3, abs=0.05)


def test_calibration_lowers_the_error_on_captions_it_was_not_fitted_on():
    fitted = Calibration.fit(*captions(seed=1))
    log_probs, lengths, right = captions(seed=2)
    before = expected_calibration_error(np.exp(log_probs / lengths), right)
    after = expected_calibration_error(fitted.probabilities(log_probs, lengths), right)
    assert after < 0.03 < before


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_captions_that_are_all_right_or_all_wrong_give_finite_chances(right):
    log_probs, lengths, _ = captions(count=50)
    fitted = Calibration.fit(log_probs, lengths, np.full(50, right))
    assert abs(fitted.probability(-2.0, 10) - right) < 0.05


def test_more_log_probability_never_means_less_chance():
    log_probs, lengths, right = captions(count=300)
    fitted = Calibration.fit(log_probs, lengths, ~right)
    assert fitted.probability(-1.0, 10) >= fitted.probability(-20.0, 10)


def test_impossible_and_empty_captions_have_a_chance():
    fitted = Calibration("log_odds", 1.0, 0.0)
    assert fitted.probability(-np.inf, 5) < 1e-9
    assert fitted.probability(np.nan, 5) < 1e-9
    assert 0.99 < fitted.probability(0.0, 5) <= 1.0
    assert fitted.probability(0.0, 0) == 0.0


def test_few_captions_are_refused():
    with pytest.raises(UserError, match="20 captions or more, and has 3"):
        Calibration.fit([-1.0] * 3, [5] * 3, [1] * 3)


def test_file_gives_back_what_was_written(tmp_path):
    written = Calibration(
        "log_odds", 1.5, -0.2, 0.01, "truth", "ab" * 32, 0.02, {"data": {"name": "shapes"}}
    )
    written.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == written


GOOD = {"captionlab_calibration": 1, "feature": "log_odds", "temperature": 1.0, "bias": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captionlab_calibration": 2}, "is not 1"),
        ({"feature": "__class__"}, "one of log_odds"),
        ({"feature": []}, "one of log_odds"),
        ({"temperature": 0}, "a number above 0"),
        ({"temperature": "1"}, "temperature is '1'"),
        ({"temperature": True}, "temperature is True"),
        ({"bias": 1e300}, "bias is 1e"),
        ({"bias": 10**400}, "bias is 1000"),
        ({"bias": float("nan")}, "NaN is no number"),
        ({"checkpoint_sha256": 3}, "checkpoint_sha256 is 3"),
        ({"ece": []}, "ece is"),
    ],
)
def test_hostile_values_are_refused_by_their_name(tmp_path, change, message):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(UserError, match=message):
        Calibration.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff\xfe", b"[" * 50_000, b" " * (MOST_BYTES + 1), b"{} {}"]
)
def test_what_is_no_calibration_is_refused(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no calibration"):
        Calibration.read(path)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(UserError, match="captionlab calibrate"):
        Calibration.read(tmp_path / "calibration.json")
