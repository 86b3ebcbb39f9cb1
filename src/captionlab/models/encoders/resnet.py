"""Residual networks as torchvision builds them, without the seconds that its import takes.

Legend: B images, D channels, h x w a grid.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, nn

STAGE_WIDTHS = (64, 128, 256, 512)


class _Size(NamedTuple):
    blocks: tuple[int, int, int, int]  # of each stage
    is_deep: bool = True  # three convolutions a block
    groups: int = 1
    group_width: int = 64


RESNETS = {
    "resnet18": _Size((2, 2, 2, 2), is_deep=False),
    "resnet34": _Size((3, 4, 6, 3), is_deep=False),
    "resnet50": _Size((3, 4, 6, 3)),
    "resnet101": _Size((3, 4, 23, 3)),
    "resnet152": _Size((3, 8, 36, 3)),
    "resnext50_32x4d": _Size((3, 4, 6, 3), groups=32, group_width=4),
    "resnext101_32x8d": _Size((3, 4, 23, 3), groups=32, group_width=8),
    "resnext101_64x4d": _Size((3, 4, 23, 3), groups=64, group_width=4),
    "wide_resnet50_2": _Size((3, 4, 6, 3), group_width=128),
    "wide_resnet101_2": _Size((3, 4, 23, 3), group_width=128),
}


def resnet_features(name: str) -> OrderedDict[str, nn.Module]:
    """Return the parts of a network named in ``RESNETS`` up to its last grid, with random weights.

    Names, shapes and, under the same seed, values are those of torchvision's network (He et al.
    2016; Xie et al. 2017; Zagoruyko, Komodakis 2016).
    """
    size = RESNETS[name]
    features: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = 64
    for number, (width, count) in enumerate(zip(STAGE_WIDTHS, size.blocks, strict=True), 1):
        blocks: list[Bottleneck | BasicBlock] = []
        for place in range(count):
            stride = 2 if number > 1 and place == 0 else 1
            blocks.append(_block(size, inputs, width, stride))
            inputs = blocks[-1].outputs
        features[f"layer{number}"] = nn.Sequential(*blocks)
    nn.Linear(inputs, 1000)  # draws what torchvision's classifier draws
    for part in features.values():
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return features


def resnet_width(name: str) -> int:
    """Return the channels D of the last grid of a network named in ``RESNETS``."""
    return STAGE_WIDTHS[-1] * (4 if RESNETS[name].is_deep else 1)


def _block(size: _Size, inputs: int, width: int, stride: int) -> Bottleneck | BasicBlock:
    if not size.is_deep:
        return BasicBlock(inputs, width, stride)
    inner = width * size.group_width // 64 * size.groups
    return Bottleneck(inputs, inner, 4 * width, stride, size.groups)


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 around a short cut."""

    chains = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.outputs = width
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _short_cut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D, h, w) from (B, inputs, stride * h, stride * w)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 (which has the stride) and 1 x 1 around a short cut."""

    chains = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _short_cut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D, h, w) from (B, inputs, stride * h, stride * w)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


def _short_cut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
    )
