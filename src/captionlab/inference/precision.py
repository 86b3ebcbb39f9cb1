"""The precision in which captions are computed, by Lightning's names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner

Precision = Literal["32", "bf16"]
# the trainer's values that the names stand for
TRAINER_PRECISION: dict[Precision, str] = {"32": "32-true", "bf16": "bf16-mixed"}
# as torch names what computes in bfloat16, on x86 and ARM
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def computing(precision: Precision, device: str | torch.device) -> torch.autocast:
    """Return the context in which a captioner computes: in float32, or where it may in bfloat16.

    bf16 is mixed precision, as Lightning's bf16-mixed: matrix products and convolutions take bfloat16,
    softmax and likelihoods float32, and the weights stay as they are. Their copies in bfloat16 are
    made once for as long as the outermost context lasts, so let it be around all batches. Where a CPU has
    no instructions for bfloat16, it is said on stderr that this is slower.
    """
    kind = torch.device(device).type
    if precision == "bf16":
        note_slow_bfloat16(kind)
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16")


def require_precision(precision: Precision, networks: Sequence[nn.Module]) -> None:
    """Raise UserError for bf16 where a network is an export's graphs, which have their own precision."""
    if precision == "bf16" and not all(isinstance(each, Captioner) for each in networks):
        raise UserError(
            "--precision bf16: ONNX graphs compute in the precision that they were exported in: leave "
            "it out, or name the checkpoint"
        )


def note_slow_bfloat16(device: str) -> None:
    """Say on stderr that bfloat16 is no gain where the device is a CPU that does not compute in it."""
    if device != "cpu":
        return
    if not hasattr(torch.cpu, "get_capabilities"):
        return  # an older torch cannot tell
    has = torch.cpu.get_capabilities()
    if not any(has.get(name) for name in BFLOAT16_INSTRUCTIONS):
        names = " or ".join(BFLOAT16_INSTRUCTIONS[:2])
        print(
            f"note: this CPU has no {names}: --precision bf16 is slower on it than float32",
            file=sys.stderr,
        )
