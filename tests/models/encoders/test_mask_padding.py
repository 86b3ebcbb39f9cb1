"""Encoders that leave padding out of what is attended to."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from captionlab.cli.extract import fingerprint
from captionlab.core.memory import Memory
from captionlab.data.images.prepare import prepare
from captionlab.models.encoders import SmallCNN, TorchvisionEncoder
from commands_support import SMALL, run_train
from tests_support import tiny_captioner, tiny_config

WIDE = torch.randint(0, 256, (3, 32, 64), dtype=torch.uint8)


@pytest.mark.parametrize("mask_padding", [False, True])
def test_grid_encoders_mask_padding_where_they_are_asked(mask_padding: bool):
    square = prepare(WIDE, 64, "pad")[None]
    for encoder in (
        SmallCNN(mask_padding=mask_padding),
        TorchvisionEncoder("vgg11", weights=None, image_size=64, mask_padding=mask_padding),
    ):
        memory: Memory = encoder.eval()(square)
        side = math.isqrt(memory.mask.shape[1])
        rows = memory.mask.view(side, side)
        real = rows.all(1)
        assert torch.equal(real, rows.any(1))
        assert real.float().mean() == (0.5 if mask_padding else 1.0)


def test_a_store_of_before_fits_an_encoder_that_masks_nothing():
    off, on = (tiny_config(f"model.encoder.mask_padding={value}") for value in ("false", "true"))
    encoder = SmallCNN()
    before = {**off, "model": {**off["model"], "encoder": dict(off["model"]["encoder"])}}
    del before["model"]["encoder"]["mask_padding"]
    assert fingerprint(encoder, off) == fingerprint(encoder, before)
    assert fingerprint(encoder, on) != fingerprint(encoder, off)
    assert json.loads(str(fingerprint(encoder, on)["encoder"]))["mask_padding"] is True


@pytest.mark.parametrize("model", ["tiny", "transformer", "updown"])
def test_nobody_attends_to_padding(model: str):
    overrides = [f"model={model}", "model/encoder=small_cnn", "model.encoder.mask_padding=true"]
    captioner = tiny_captioner(*overrides).eval()
    square = prepare(WIDE, captioner.encoder.image_size, "pad")[None]
    mask = captioner.encode(square).mask
    assert 0 < mask.sum() < mask.numel()
    weights = captioner(square, torch.tensor([[[1, 5, 6]]])).weights
    assert not weights[..., ~mask[0]].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 1, 3))


def wide_pictures(folder: Path) -> None:
    folder.mkdir()
    lines = ["image,caption,split"]
    for i in range(24):
        split = "train" if i < 16 else "val" if i < 20 else "test"
        shape = (60, 30) if i % 2 else (30, 60)
        Image.new("RGB", shape, (i * 9 % 256, 80, 90)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,a dog runs {'slowly' if i % 2 else 'fast'},{split}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")


def test_a_run_from_stored_features_has_the_masks_of_one_from_images(tmp_path: Path):
    wide_pictures(tmp_path / "data")
    kept = [o for o in SMALL if not o.startswith("data.source")]
    kept += ["data=csv", f"data.root={tmp_path / 'data'}", "data.fit=pad", "data.batch_size=8"]
    kept += ["model.encoder.mask_padding=true", "model.encoder.trainable=none", "test=false"]
    losses = []
    for features in ("auto", "null"):
        run_train(tmp_path, *kept, f"data.features={features}", f"hydra.run.dir=by_{features}")
        rows = list(csv.DictReader((tmp_path / f"by_{features}" / "metrics.csv").open()))
        losses.append([float(row["val/loss"]) for row in rows])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    page = (tmp_path / "by_auto/gallery.html").read_text()
    assert page.count('class="attention"') == 4
