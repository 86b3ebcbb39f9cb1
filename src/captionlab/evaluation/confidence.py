"""Captions judged right or not, with what the captioner itself thinks of them.

N captions of a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding.captions import Decoding, generate
from captionlab.evaluation.evaluator import encode_batch
from captionlab.metrics.calibration import Calibration
from captionlab.metrics.reliability import (
    accuracy_at,
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
)
from captionlab.models.captioner import Captioner
from captionlab.text.tokenizers import Tokenizer

ImageId = int | str
COVERAGES = (1.0, 0.9, 0.8, 0.5)
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
# what a caption is judged by, all else only stands for it
JUDGMENTS = ("truth", "exact_match")
_CRITERION = re.compile(r"(\w+)(?:>=([0-9.]+))?", re.ASCII)


@dataclass(frozen=True)
class Criterion:
    """When a caption counts as right: a score of it is at least so much."""

    score: str
    at_least: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Return the criterion of "truth", "exact", or "cider>=0.5".

        Raises:
            UserError: if it is none.
        """
        match = _CRITERION.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            name, bound = match.groups()
            name = "exact_match" if name == "exact" else name
            if bound is None and name not in JUDGMENTS:
                raise ValueError
            return cls(name, 1.0 if bound is None else float(bound))
        except ValueError:
            raise UserError(
                f"--correct {text}: say truth, exact, or a score of a caption with what it must "
                "reach, such as cider>=0.5"
            ) from None

    @property
    def is_proxy(self) -> bool:
        """Whether it only stands for being right: a likeness to references is no truth."""
        return self.score not in JUDGMENTS

    def __str__(self) -> str:
        whole = self.score in JUDGMENTS and self.at_least == 1.0
        return self.score if whole else f"{self.score}>={self.at_least:g}"

    def judge(self, scores: Mapping[ImageId, Mapping[str, float]]) -> dict[ImageId, bool]:
        """Return whether each caption is right, of those that have the score.

        Raises:
            UserError: if none has it.
        """
        known = {name for row in scores.values() for name in row}
        if self.score not in known:
            raise UserError(
                f"--correct {self}: these data have no score {self.score!r} of a caption; "
                f"{did_you_mean(self.score, known)}"
            )
        kept = {i: row[self.score] for i, row in scores.items() if self.score in row}
        return {i: value >= self.at_least for i, value in kept.items()}


@dataclass(frozen=True)
class WrittenCaption:
    """The best caption of an image: its log-probability in nats, and its tokens with the end token."""

    text: str
    log_prob: float
    length: int


@torch.inference_mode()
def write_captions(
    captioner: Captioner,
    batches: Iterable[CaptionBatch],
    *,
    decoding: Decoding,
    tokenizer: Tokenizer,
    device: str | torch.device,
) -> dict[ImageId, WrittenCaption]:
    """Return the best caption of each image, or of each question of one, by its id."""
    written: dict[ImageId, WrittenCaption] = {}
    for batch in batches:
        batch = batch.to(device)
        memory, prompts = encode_batch(captioner, batch, tokenizer.pad_id)
        texts, generated = generate(captioner, memory, decoding, tokenizer, prompts)
        columns = (texts, generated.log_probs[:, 0].tolist(), generated.lengths[:, 0].tolist())
        captions = (WrittenCaption(*one) for one in zip(*columns, strict=True))
        written.update(zip(batch.image_ids, captions, strict=True))
    return written


@dataclass(frozen=True)
class JudgedCaptions:
    """Captions (N,): log-probability in nats, length in tokens, whether each is right."""

    log_probs: np.ndarray
    lengths: np.ndarray
    right: np.ndarray

    @classmethod
    def of(
        cls, written: Mapping[ImageId, WrittenCaption], right: Mapping[ImageId, bool]
    ) -> JudgedCaptions:
        """Return the captions that were judged, in the order of the judgments."""
        return cls(
            np.array([written[i].log_prob for i in right], dtype=np.float64),
            np.array([written[i].length for i in right], dtype=np.float64),
            np.array(list(right.values()), dtype=np.float64),
        )

    def uncalibrated(self) -> dict[str, np.ndarray]:
        """Return what the captioner says by itself (N,): of the caption, and of its words on average."""
        log_probs = np.minimum(self.log_probs, 0.0)
        return {
            "caption": np.exp(log_probs),
            "words": np.exp(log_probs / np.maximum(self.lengths, 1)),
        }


def reliability_report(
    calibration: Calibration, judged: JudgedCaptions, coverages: Sequence[float] = COVERAGES
) -> dict[str, float]:
    """Return how reliable a calibration's chances are, by name.

    ``ece_caption`` and ``ece_words`` are those without calibration: of the caption's probability,
    and of the geometric mean of its words'. ``aurc_random`` is the area without any order,
    ``aurc_perfect`` that of an order by judgment.
    """
    right = judged.right
    chances = calibration.probabilities(judged.log_probs, judged.lengths)
    raw = judged.uncalibrated()
    report = {f"ece_{name}": expected_calibration_error(one, right) for name, one in raw.items()}
    report |= {
        "captions": len(right),
        "right": float(right.mean()),
        "ece": expected_calibration_error(chances, right),
        "ece_adaptive": expected_calibration_error(chances, right, kind="mass"),
        "brier_caption": brier_score(raw["caption"], right),
        "brier_words": brier_score(raw["words"], right),
        "brier": brier_score(chances, right),
        "aurc": area_under_risk_coverage(chances, right),
        "aurc_perfect": area_under_risk_coverage(right, right),
        "aurc_random": float(1 - right.mean()),
    }
    return report | {
        f"right_at_{share:g}": accuracy_at(chances, right, share) for share in coverages
    }


def abstention_table(
    calibration: Calibration, judged: JudgedCaptions, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, float | None]]:
    """Return, for each threshold of ``--abstain``, the share that is answered and how much of it is right.

    ``right`` is None where nothing is answered.
    """
    chances = calibration.probabilities(judged.log_probs, judged.lengths)
    rows: list[dict[str, float | None]] = []
    for threshold in thresholds:
        kept = judged.right[chances >= threshold]
        share = len(kept) / len(chances)
        rows.append(
            {
                "abstain": threshold,
                "answered": share,
                "right": float(kept.mean()) if len(kept) else None,
            }
        )
    return rows
