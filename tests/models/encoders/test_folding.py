"""An encoder whose batch norms are folded away sees what it saw before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from captionlab.core.memory import Memory
from captionlab.models.encoders import ImageEncoder, SmallCNN, TimmEncoder, TorchvisionEncoder
from captionlab.models.encoders.folding import folded

IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
BARE = {"weights": None, "image_size": 64}
# how many batch norms are left
ENCODERS = {
    "small": (lambda: SmallCNN(image_size=64), 0),
    "lite": (lambda: TimmEncoder("tf_efficientnet_lite0", **BARE), 0),
    "resnet": (lambda: TorchvisionEncoder("resnet18", trainable="all", **BARE), 0),
    "bottleneck": (lambda: TorchvisionEncoder("resnet50", layers=[-2, -1], **BARE), 0),
    "chain": (lambda: TorchvisionEncoder("mobilenet_v3_small", **BARE), 0),
    # a layer that is read by hand: only what certainly follows is folded
    "dense": (lambda: TorchvisionEncoder("densenet121", **BARE), 120),
}


def norms(encoder: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ENCODERS)
def test_the_memory_is_the_same_and_the_encoder_is_as_it_was(name: str):
    torch.manual_seed(0)
    make, left = ENCODERS[name]
    encoder = make().eval()
    for norm in norms(encoder):  # as trained, and no network of many layers at rest
        nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        nn.init.uniform_(norm.running_var, 0.8, 1.2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    bare = folded(encoder)
    assert len(norms(bare)) == left
    with torch.no_grad():
        seen, expected = bare(IMAGES), encoder(IMAGES)
    scale = expected.slots.abs().max()
    torch.testing.assert_close(seen.slots / scale, expected.slots / scale, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen.pooled / scale, expected.pooled / scale, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(tensor, before[key]) for key, tensor in encoder.state_dict().items())
    assert not any(parameter.requires_grad for parameter in bare.parameters())


def test_nothing_is_folded_that_learns_or_is_a_users_own():
    class Own(ImageEncoder):
        def __init__(self) -> None:
            super().__init__(dim=3, image_size=8, learning_rate=None, mean=[0.5] * 3, std=[1.0] * 3)
            self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

        def forward(self, images: torch.Tensor) -> Memory:
            raise NotImplementedError

    own, learning = Own().eval(), SmallCNN(image_size=64)
    assert folded(own) is own
    assert folded(learning) is learning
    with torch.no_grad():
        assert folded(learning.eval()) is not learning


def test_what_learns_has_the_same_gradients_in_either_layout():
    torch.manual_seed(0)
    encoder = TorchvisionEncoder("resnet18", trainable="all", **BARE).double()
    grads = []
    for convolves in (True, False):
        encoder._convolves = convolves
        encoder.zero_grad()
        encoder(IMAGES).slots.square().sum().backward()
        grads.append([p.grad.clone() for p in encoder.parameters()])
    torch.testing.assert_close(*grads)
