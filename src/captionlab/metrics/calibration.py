"""A caption's chance of being right, from its log-probability and its length.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2) divides
the logits of a classifier by one number that is fitted on held-out data. A caption is no class: many
are right of one picture, so the model's own probability of it is no chance of being right either.
What is scaled here are the log-odds of that probability, with a bias as Platt (1999) has it, and a
weight of the length where that predicts better.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from captionlab.core.errors import UserError, first_line
from captionlab.core.files import replacing

NAME = "calibration.json"
FORMAT = 1
KEY = "captionlab_calibration"
LEAST_CAPTIONS = 20
FOLDS = 5
MOST_BYTES = 2**16  # of a file: a calibration has a few hundred
HIGHEST_TEMPERATURE = 1e4  # where more log-probability does not mean right more often
LARGEST = 1e6  # of any number of a file
# float32 sums reach 0; what no decoder can mean is far below
_LOG_PROBS = (-100.0, -1e-6)


def _log_odds(log_probs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.nan_to_num(log_probs, nan=-np.inf, neginf=_LOG_PROBS[0]), *_LOG_PROBS)
    return clipped - np.log(-np.expm1(clipped))


def _mean_log_odds(log_probs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return _log_odds(log_probs / np.maximum(lengths, 1), lengths)


# the simpler first: it is taken where two predict alike
FEATURES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "log_odds": _log_odds,  # of the caption's probability
    "mean_log_odds": _mean_log_odds,  # of the geometric mean of its words' probabilities
}


@dataclass(frozen=True)
class Calibration:
    """Turns log-probability and length of a caption into its chance of being right.

    sigmoid(feature / ``temperature`` + ``bias`` + ``length_weight`` x length), ``length`` in tokens
    with the end token, as ``Generated`` counts it.

    Attributes:
        feature: one of ``FEATURES``.
        right: what right means: ``"truth"``, ``"cider>=0.5"``.
        checkpoint_sha256: of the file that it belongs to.
        ece: expected calibration error on captions that it was not fitted on, None if not measured.
        facts: what else its file tells: plain values.
    """

    feature: str
    temperature: float
    bias: float
    length_weight: float = 0.0
    right: str = ""
    checkpoint_sha256: str = ""
    ece: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, log_probs: ArrayLike, lengths: ArrayLike, right: ArrayLike, **about: Any
    ) -> Calibration:
        """Return the calibration of captions (N,) that were judged right or not.

        The feature, and whether the length counts, are those with the smallest negative
        log-likelihood of held-out fifths.

        Args:
            about: other attributes, such as ``checkpoint_sha256``.

        Raises:
            UserError: for fewer than 20 captions.
        """
        log_prob, length, judged = _columns(log_probs, lengths, right)
        fits = [
            (_held_out_nll(name, with_length, log_prob, length, judged), name, with_length)
            for with_length in (False, True)
            for name in FEATURES
        ]
        _, name, with_length = min(fits, key=lambda one: round(one[0], 4))
        slope, bias, *rest = _fit(name, with_length, log_prob, length, judged).tolist()
        return cls(name, 1 / slope, bias, rest[0] if rest else 0.0, **about)

    def probabilities(self, log_probs: ArrayLike, lengths: ArrayLike) -> np.ndarray:
        """Return the chance (N,) of each caption (N,) to be right, 0 for one without any token."""
        log_prob, length = (np.asarray(one, dtype=np.float64) for one in (log_probs, lengths))
        x = FEATURES[self.feature](log_prob, length)
        chance = _sigmoid(x / self.temperature + self.bias + self.length_weight * length)
        return np.where(length > 0, chance, 0.0)

    def probability(self, log_prob: float, length: int) -> float:
        """Return the chance of one caption to be right."""
        return float(self.probabilities([log_prob], [length])[0])

    def write(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        entry = {
            KEY: FORMAT,
            "feature": self.feature,
            "temperature": self.temperature,
            "bias": self.bias,
            "length_weight": self.length_weight,
            "right": self.right,
            "checkpoint_sha256": self.checkpoint_sha256,
            "ece": self.ece,
        }
        text = json.dumps({**entry, **self.facts}, indent=1, ensure_ascii=False, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Return the calibration of a file, which may come from a stranger.

        Raises:
            UserError: if there is no such file, or it is no calibration of this version.
        """
        path = Path(path)
        entry = _read(path)
        if entry.pop(KEY, None) != FORMAT:
            raise UserError(
                f"{path} is no calibration that this captionlab reads: its {KEY} is not {FORMAT}; "
                "write it again with captionlab calibrate CKPT"
            )
        name = entry.pop("feature", None)
        if not isinstance(name, str) or name not in FEATURES:
            raise _damaged(path, "feature", name, "one of " + ", ".join(FEATURES))
        numbers = {
            key: _number(path, key, entry.pop(key, default))
            for key, default in (("temperature", None), ("bias", None), ("length_weight", 0.0))
        }
        if not 1e-4 <= numbers["temperature"] <= HIGHEST_TEMPERATURE * 1.01:
            raise _damaged(path, "temperature", numbers["temperature"], "a number above 0")
        right, digest = (
            _text(path, key, entry.pop(key, "")) for key in ("right", "checkpoint_sha256")
        )
        ece = entry.pop("ece", None)
        ece = None if ece is None else _number(path, "ece", ece)
        return cls(name, **numbers, right=right, checkpoint_sha256=digest, ece=ece, facts=entry)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"there is no calibration {path}: captionlab calibrate CKPT writes it")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} is no calibration: it has more than {MOST_BYTES:,} bytes")
    try:
        entry = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no calibration: {first_line(error)}") from error
    if not isinstance(entry, dict):
        raise UserError(f"{path} is no calibration: it holds a {type(entry).__name__}")
    return entry


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _number(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise _damaged(path, key, value, f"a number of at most {LARGEST:,.0f}")
    return float(value)


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _damaged(path, key, value, "a text")
    return value


def _damaged(path: Path, key: str, value: object, wanted: str) -> UserError:
    return UserError(f"{path}: {key} is {value!r:.60}, and {wanted} belongs there")


def _columns(*columns: ArrayLike) -> Sequence[np.ndarray]:
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    count = len(arrays[0])
    if any(array.shape != (count,) for array in arrays):
        raise ValueError(f"columns of one length, not {[array.shape for array in arrays]}")
    if count < LEAST_CAPTIONS:
        raise UserError(f"a calibration needs {LEAST_CAPTIONS} captions or more, and has {count}")
    return arrays


def _held_out_nll(
    name: str, with_length: bool, log_prob: np.ndarray, length: np.ndarray, right: np.ndarray
) -> float:
    """Return the mean negative log-likelihood, in nats, of fifths that the others predict."""
    fold = np.arange(len(right)) % FOLDS
    total = 0.0
    for held_out in range(FOLDS):
        kept, rest = fold != held_out, fold == held_out
        weights = _fit(name, with_length, log_prob[kept], length[kept], right[kept])
        logits = _design(name, with_length, log_prob[rest], length[rest]) @ weights
        total += float(np.logaddexp(0.0, np.where(right[rest] > 0.5, -logits, logits)).sum())
    return total / len(right)


def _design(name: str, with_length: bool, log_prob: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return what is weighed of each caption (N, 2 or 3): the feature, 1, the length."""
    columns = [FEATURES[name](log_prob, length), np.ones(len(log_prob))]
    return np.stack([*columns, length] if with_length else columns, axis=1)


def _fit(
    name: str, with_length: bool, log_prob: np.ndarray, length: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return the weights (2 or 3,) of the largest likelihood; that of the feature is above 0."""
    design = _design(name, with_length, log_prob, length)
    positive = right.sum()
    # Platt's targets: finite weights where all captions are right, or all that are likely
    targets = np.where(
        right > 0.5, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2)
    )
    weights = _maximize(design, targets, np.zeros(len(right)))
    least = 1 / HIGHEST_TEMPERATURE
    if weights[0] < least:
        rest = _maximize(design[:, 1:], targets, least * design[:, 0])
        weights = np.array([least, *rest])
    return weights


def _maximize(design: np.ndarray, targets: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the weights of a logistic regression by Newton's method, its steps halved as needed."""
    weights = np.zeros(design.shape[1])

    def loss(trial: np.ndarray) -> float:
        logits = design @ trial + offset
        return float((np.logaddexp(0.0, logits) - targets * logits).sum())

    best = loss(weights)
    for _ in range(100):
        chance = _sigmoid(design @ weights + offset)
        gradient = design.T @ (chance - targets)
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(hessian + 1e-8 * np.eye(len(weights)), gradient)
        while (after := loss(weights - step)) > best and np.abs(step).max() > 1e-10:
            step = step / 2
        if not math.isfinite(after) or best - after < 1e-10:
            break
        weights, best = weights - step, after
    return weights


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -logits))
