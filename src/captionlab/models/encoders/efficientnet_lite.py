"""EfficientNet-Lite as timm builds it, without the seconds that timm's import takes.

It offers of timm's networks what ``timm_reading`` asks of one. Legend: B images, D channels,
h x w a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

# kernel, stride, expansion, channels and blocks of each stage (Tan, Le 2019, table 1)
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD = 32, 1280
EPSILON = 1e-3  # of TensorFlow's batch norm


class _Scale(NamedTuple):
    width: float
    depth: float


LITE = {
    "tf_efficientnet_lite0": _Scale(1.0, 1.0),
    "tf_efficientnet_lite1": _Scale(1.0, 1.1),
    "tf_efficientnet_lite2": _Scale(1.1, 1.2),
}


class EfficientNetLite(nn.Module):
    """A network named in ``LITE``, without its classifier, with random weights.

    Names, shapes and, under the same seed, values are those of timm's network: an EfficientNet
    (Tan, Le 2019) without squeeze and excitation, with ReLU6.
    """

    num_features = HEAD
    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # noqa: RUF012 - as timm has it
    chains = (("conv_stem", "bn1"), ("conv_head", "bn2"))

    def __init__(self, name: str) -> None:
        super().__init__()
        scale = LITE[name]
        self.conv_stem = SameConv2d(3, STEM, 3, stride=2)
        self.bn1 = _norm(STEM)
        stages: list[nn.Module] = []
        self.ends: list[int] = []  # of the grids, as numbers of stages
        inputs = STEM
        for number, (kernel, stride, expansion, channels, count) in enumerate(STAGES):
            outputs = _rounded(channels * scale.width)
            is_scaled = 0 < number < len(STAGES) - 1
            blocks: list[nn.Module] = []
            for place in range(math.ceil(count * scale.depth) if is_scaled else count):
                step = stride if place == 0 else 1
                blocks.append(_block(inputs, expansion, outputs, kernel, step))
                inputs = outputs
            if stride == 2:
                self.ends.append(number - 1)
            stages.append(nn.Sequential(*blocks))
        self.ends.append(len(STAGES) - 1)
        self.feature_info = self.ends  # timm's has an entry for each grid
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(inputs, HEAD, 1, bias=False)
        self.bn2 = _norm(HEAD)
        # timm tries a layer of its own twice: random numbers are drawn as they are there
        nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                outputs_each = module.out_channels // module.groups
                fan_out = math.prod(module.kernel_size) * outputs_each
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled vector (B, D) of images (B, 3, h, w)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last maps (B, D, h / 32, w / 32) of images (B, 3, h, w)."""
        return self._head(self.blocks(self._stem(images)))

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """Return the mean (B, D) of the last maps; there is no classifier behind it."""
        return features.mean((2, 3))

    def forward_intermediates(
        self, images: Tensor, indices: Sequence[int], *, norm: bool = True, output_fmt: str = "NCHW"
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the last maps, and those (B, d, h, w) of the grids of ``indices``, finest first.

        ``norm`` and ``output_fmt`` are as they are: timm's other networks have a choice.
        """
        x = self._stem(images)
        kept = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self.ends and self.ends.index(number) in indices:
                kept.append(x)
        return self._head(x), kept

    def _stem(self, images: Tensor) -> Tensor:
        return F.relu6(self.bn1(self.conv_stem(images)), inplace=True)

    def _head(self, x: Tensor) -> Tensor:
        return F.relu6(self.bn2(self.conv_head(x)), inplace=True)


class DepthwiseSeparable(nn.Module):
    """A convolution of each channel by itself, then one across channels."""

    chains = (("conv_dw", "bn1"), ("conv_pw", "bn2"))

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        self.conv_dw = SameConv2d(inputs, inputs, kernel, stride=stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w) from (B, inputs, stride * h, stride * w)."""
        y = F.relu6(self.bn1(self.conv_dw(x)), inplace=True)
        out: Tensor = self.bn2(self.conv_pw(y))
        return out + x if self.is_residual else out


class InvertedResidual(nn.Module):
    """Channels are widened, convolved one by one, and narrowed (Sandler et al. 2018)."""

    chains = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        self.conv_pw = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = _norm(inner)
        self.conv_dw = SameConv2d(inner, inner, kernel, stride=stride, groups=inner)
        self.bn2 = _norm(inner)
        self.conv_pwl = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w) from (B, inputs, stride * h, stride * w)."""
        y = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = F.relu6(self.bn2(self.conv_dw(y)), inplace=True)
        out: Tensor = self.bn3(self.conv_pwl(y))
        return out + x if self.is_residual else out


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow pads: one more on the right and below."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, groups: int = 1
    ) -> None:
        # with a stride of 1 and an odd kernel both sides have the same
        padding = 0 if stride > 1 else kernel // 2
        super().__init__(
            inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w), h and w divided by the stride and rounded up."""
        if self.stride[0] > 1:
            top, bottom = self._padding(x.shape[2])
            left, right = self._padding(x.shape[3])
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)

    def _padding(self, side: int) -> tuple[int, int]:
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


def _block(inputs: int, expansion: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    if expansion == 1:
        return DepthwiseSeparable(inputs, outputs, kernel, stride)
    return InvertedResidual(inputs, expansion * inputs, outputs, kernel, stride)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


def _rounded(channels: float) -> int:
    """Return a multiple of 8 near a number of channels, not more than a tenth below it."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
