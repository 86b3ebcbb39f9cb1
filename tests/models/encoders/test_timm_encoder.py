"""timm's models as encoders, against timm itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.models.encoders.timm import TimmEncoder

timm = pytest.importorskip("timm")
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_slots_are_timms_features(name: str, tmp_path: Path):
    torch.manual_seed(0)
    sizes = {"img_size": 64} if "vit" in name else {}
    theirs = timm.create_model(name, num_classes=0, **sizes).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = TimmEncoder(name, weights=str(tmp_path / "weights.pt"), image_size=64)
    memory = ours(IMAGES)
    with torch.no_grad():
        found = theirs.forward_features(ours.normalize(IMAGES))
        pooled = theirs.forward_head(found, pre_logits=True)
    expected = found.flatten(2).transpose(1, 2) if found.ndim == 4 else found[:, 1:]
    torch.testing.assert_close(memory.slots, expected)
    torch.testing.assert_close(memory.pooled, pooled)
    assert memory.slots.shape == (2, memory.mask.shape[1], ours.dim)


def test_only_what_is_told_learns():
    frozen = TimmEncoder("vit_tiny_patch16_224", weights=None, image_size=64).train()
    assert not frozen(IMAGES).slots.requires_grad
    partly = TimmEncoder(
        "vit_tiny_patch16_224", weights=None, image_size=64, trainable="last_stage"
    )
    learning = {n for n, p in partly.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("trunk.blocks.11.") for name in learning)


def test_wrong_names_and_files_are_said(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean 'resnet10t'"):
        TimmEncoder("resnet10tt", weights=None)
    with pytest.raises(UserError, match="there is no such file"):
        TimmEncoder("resnet10t", weights=str(tmp_path / "no.pt"), image_size=64)
