"""An encoder for inference alone: its batch norms are part of the convolutions before them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from captionlab.models.encoders.backbones import GridTrunk
from captionlab.models.encoders.image_encoder import ImageEncoder


def folded(encoder: nn.Module) -> nn.Module:
    """Return a copy of an encoder in evaluation that gives the same within rounding, sooner.

    A batch norm whose statistics stand still scales and shifts its input, which the convolution
    before it can do (Jacob et al. 2018, section 3.2). The copy cannot learn and has other weights
    than the encoder; a class that is not of this package, and one without such pairs, is returned
    as it is.
    """
    is_own = isinstance(encoder, ImageEncoder) and type(encoder).__module__.startswith(
        "captionlab."
    )
    if not is_own or not any(True for _ in _pairs(encoder)):
        return encoder
    bare = copy.deepcopy(encoder).requires_grad_(False)
    with torch.no_grad():
        for owner, name, conv, norm in list(_pairs(bare)):
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None  # so _pairs chooses
            assert variance is not None
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            setattr(owner, name, nn.Identity())
    return bare.requires_grad_(False).to(memory_format=torch.channels_last)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d, nn.BatchNorm2d]]:
    """Yield convolutions with the batch norms that alone read them, in evaluation, by their owners."""
    for owner in network.modules():
        children = owner._modules
        # of other modules their forward says what follows what, which only some declare
        is_chain = type(owner).forward in (nn.Sequential.forward, GridTrunk.forward)
        for first, second in pairwise(children) if is_chain else getattr(owner, "chains", ()):
            conv, norm = children[first], children[second]
            if not (isinstance(conv, nn.Conv2d) and type(norm) is nn.BatchNorm2d):
                continue
            if norm.running_mean is not None and not norm.training:
                yield owner, second, conv, norm
