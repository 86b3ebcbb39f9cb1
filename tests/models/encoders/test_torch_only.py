"""Networks that are built without torchvision or timm: theirs, to the bit, under the same seed."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision import models

from captionlab.models.encoders.backbones import build_trunk
from captionlab.models.encoders.efficientnet_lite import LITE, EfficientNetLite
from captionlab.models.encoders.image_encoder import IMAGENET_MEAN, IMAGENET_STD
from captionlab.models.encoders.packaged import PACKAGES
from captionlab.models.encoders.resnet import RESNETS

HEAD = {"avgpool", "fc"}


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_a_residual_network_is_torchvisions(name: str):
    torch.manual_seed(0)
    trunk, width = build_trunk(name, 64)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None)
    assert torch.equal(torch.rand(1), drawn)
    parts = OrderedDict((n, part) for n, part in theirs.named_children() if n not in HEAD)
    cut = nn.Sequential(parts)
    _require_equal_states(trunk, cut)
    images = torch.randn(2, 3, 70, 64)
    maps = cut.eval()(images)
    slots, pooled = trunk.eval()(images)
    assert torch.equal(slots, maps.flatten(2).transpose(1, 2))
    assert pooled.shape == (2, width)


def test_every_residual_network_has_torchvisions_shapes_and_colors():
    with torch.device("meta"):
        for name in RESNETS:
            trunk, _ = build_trunk(name, 224)
            theirs = models.get_model(name, weights=None).state_dict()
            own = {key: tensor.shape for key, tensor in trunk.state_dict().items()}
            assert own == {k: t.shape for k, t in theirs.items() if not k.startswith("fc.")}
    for name in RESNETS:
        for entry in models.get_model_weights(name):
            colors = entry.transforms()
            assert (colors.mean, colors.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", sorted(LITE))
def test_an_efficientnet_lite_is_timms(name: str):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    own = EfficientNetLite(name)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0)
    assert torch.equal(torch.rand(1), drawn)
    _require_equal_states(own, theirs)
    assert own.pretrained_cfg == {key: theirs.pretrained_cfg[key] for key in own.pretrained_cfg}
    assert len(own.feature_info) == len(theirs.feature_info)
    images = torch.randn(2, 3, 96, 75)
    for mode in (True, False):
        torch.testing.assert_close(own.train(mode)(images), theirs.train(mode)(images))
    grids = [0, 2, 3]
    final, maps = own.forward_intermediates(images, grids)
    their_final, their_maps = theirs.forward_intermediates(images, indices=grids)
    torch.testing.assert_close([final, *maps], [their_final, *their_maps])


def test_every_packaged_network_is_built_without_timm():
    assert set(PACKAGES) == set(LITE)


def _require_equal_states(own: nn.Module, theirs: nn.Module) -> None:
    state, other = own.state_dict(), theirs.state_dict()
    assert list(state) == list(other)
    assert all(torch.equal(state[key], other[key]) for key in state)
