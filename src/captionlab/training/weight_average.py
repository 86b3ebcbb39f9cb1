"""An exponential moving average of a captioner's weights, beside the weights in training."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import OPTIMIZERS, WEIGHTS_PREFIX

ENTRY = "average"  # of a checkpoint: the weights in training, and how far the average is


class WeightAverage:
    """Averages the trained parameters, and the running statistics of their batch norms.

    After n steps ``average = d * average + (1 - d) * weights`` with ``d = min(decay, n / (9 + n))``:
    the bound, (1 + n) / (10 + n) where n counts from 0, is that of TensorFlow's
    ``ExponentialMovingAverage``, and lets the average forget the first weights soon. What is frozen is
    not copied. The average is held in float32 at least: in bfloat16 a thousandth of a weight is lost.

    Args:
        captioner: whose weights are averaged; its frozen ones stay frozen.
        decay: from 0 to 1, 1 excluded. start_step: steps until which the average is the weights.
    """

    def __init__(self, captioner: nn.Module, *, decay: float, start_step: int = 0) -> None:
        self._decay = decay
        self._steps = 0
        self._began = start_step
        self._places = averaged_places(captioner)
        weights = self._weights
        self._average = [_full_precision(weight) for weight in weights]
        self._in_training: list[Tensor] | None = None  # while the average is in their place
        index = {id(weight): i for i, weight in enumerate(weights)}
        # tied weights have several names
        self._names = {
            WEIGHTS_PREFIX + name: index[id(tensor)]
            for name, tensor in captioner.state_dict(keep_vars=True).items()
            if id(tensor) in index
        }

    @property
    def _weights(self) -> list[Tensor]:
        # looked up each time: a module that moves to a device has other buffers then
        return [getattr(module, name) for module, name in self._places]

    @torch.no_grad()
    def update(self) -> None:
        """Let the average follow a step of the optimizer."""
        self._follow_device()
        self._steps += 1
        steps = self._steps - self._began
        if steps <= 0:
            self._copy_weights()
            return
        weights = [w.to(a.dtype) for w, a in zip(self._weights, self._average, strict=True)]
        step = get_ema_multi_avg_fn(min(self._decay, steps / (9 + steps)))
        step(self._average, weights, self._steps)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew from the weights as they are now."""
        self._follow_device()
        self._began = max(self._began, self._steps)
        self._copy_weights()

    @torch.no_grad()
    def swap_in(self) -> None:
        """Put the average in the place of the weights in training, until ``swap_out``."""
        if self._in_training is None:
            self._follow_device()
            self._in_training = [weight.detach().clone() for weight in self._weights]
            self._write(self._average)

    @torch.no_grad()
    def swap_out(self) -> None:
        """Put the weights in training back, to the bit."""
        if self._in_training is not None:
            self._write(self._in_training)
            self._in_training = None

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Make the average a checkpoint's weights; one that resumes holds those in training besides."""
        weights: dict[str, Any] = checkpoint["state_dict"]
        weights |= {name: self._average[place] for name, place in self._names.items()}
        if OPTIMIZERS in checkpoint:
            training = self._weights if self._in_training is None else self._in_training
            checkpoint[ENTRY] = {
                "steps": self._steps,
                "began": self._began,
                "weights": {name: training[at].detach() for name, at in self._names.items()},
            }

    @torch.no_grad()
    def load(self, checkpoint: dict[str, Any]) -> None:
        """Take the average of a checkpoint, and make the weights in training its weights again.

        Raises:
            UserError: if it holds no average, or one of other weights.
        """
        entry = checkpoint.get(ENTRY)
        weights: dict[str, Any] = checkpoint["state_dict"]
        if not isinstance(entry, dict) or not self._fits(entry, weights):
            raise UserError(
                "ckpt: the checkpoint holds no average of this model's trained weights; use init_from= "
                "for a new run from its weights, or go on with callbacks/average=none"
            )
        for name, place in self._names.items():
            self._average[place].copy_(weights[name])
        self._steps, self._began = entry["steps"], entry["began"]
        weights |= entry["weights"]

    def _fits(self, entry: dict[str, Any], weights: dict[str, Any]) -> bool:
        counts = [entry.get("steps"), entry.get("began")]
        stored = entry.get("weights")
        if not all(type(count) is int for count in counts) or not isinstance(stored, dict):
            return False
        return stored.keys() == self._names.keys() and all(
            _is_dense(tensor) and tensor.shape == self._average[place].shape
            for name, place in self._names.items()
            for tensor in (stored[name], weights.get(name))
        )

    def _follow_device(self) -> None:
        # Lightning moves the model after a checkpoint has been read
        for place, (average, weight) in enumerate(zip(self._average, self._weights, strict=True)):
            self._average[place] = average.to(weight.device)

    def _copy_weights(self) -> None:
        for average, weight in zip(self._average, self._weights, strict=True):
            average.copy_(weight)

    def _write(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)


def averaged_places(captioner: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return what changes in training, each tensor once, as modules and names of their attributes.

    These are trained parameters and the statistics of batch norms. Buffers of other modules are
    constants (masks, which may hold infinities). A batch norm whose parameters are frozen stands in
    a frozen encoder, where its statistics are, too.
    """
    places = []
    known: set[int] = set()
    for module in captioner.modules():
        own = dict(module.named_parameters(recurse=False))
        names = [name for name, parameter in own.items() if parameter.requires_grad]
        if isinstance(module, _BatchNorm) and (names or not own):
            buffers = module.named_buffers(recurse=False)
            # the others count batches
            names += [name for name, buffer in buffers if buffer.is_floating_point()]
        for name in names:
            if id(getattr(module, name)) not in known:
                known.add(id(getattr(module, name)))
                places.append((module, name))
    return places


def restore_average(average: WeightAverage | None, checkpoint: dict[str, Any]) -> None:
    """Let a run's average, if it keeps one, go on with that of a checkpoint, as ``load`` does.

    Raises:
        UserError: if only one of them has an average.
    """
    if average is not None:
        average.load(checkpoint)
    elif ENTRY in checkpoint:
        raise UserError(
            "ckpt: the checkpoint is of a run with an average of its weights: repeat its overrides "
            "(callbacks/average=ema), or use init_from= for a new run from the average"
        )


def _is_dense(value: object) -> TypeGuard[Tensor]:
    if not isinstance(value, Tensor) or value.is_quantized:
        return False
    return value.layout == torch.strided and value.is_floating_point()


def _full_precision(tensor: Tensor) -> Tensor:
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return tensor.detach().to(dtype, copy=True)
