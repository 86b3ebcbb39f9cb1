"""Checkpoints that version 0.1 wrote (commit 6cee665), one a kind of decoder, go on giving what they gave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.cli.evaluate import evaluate

FOLDER = Path(__file__).parents[1] / "fixtures" / "checkpoints"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PICTURES = sorted(str(path) for path in (FOLDER / "pictures").glob("*.png"))


@pytest.mark.parametrize("name", EXPECTED)
def test_captions_and_their_scores_are_the_same(name):
    captioner = load_captioner(FOLDER / f"{name}.ckpt")
    images = torch.stack([captioner.prepare(picture) for picture in PICTURES])
    captions, generated = captioner.generate(images)
    expected_captions, expected_scores = zip(*EXPECTED[name]["captions"], strict=True)
    assert captions == list(expected_captions)
    scores = generated.scores[:, 0].tolist()
    assert scores == pytest.approx(expected_scores, abs=1e-3)  # log-probabilities of four decimals


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_scores_of_its_split_are_the_same(name, tmp_path):
    evaluate(str(FOLDER / f"{name}.ckpt"), [], out=str(tmp_path / "scores"))
    scores = json.loads((tmp_path / "scores" / "results.json").read_text())
    for score, value in EXPECTED[name]["results"].items():
        assert scores[score] == pytest.approx(value, rel=1e-5, abs=1e-9), score
