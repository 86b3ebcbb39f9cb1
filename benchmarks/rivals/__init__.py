"""The other side of a work, written as the rival computes it, at equal sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measuring.references import made_references
from measuring.work import BOS, EOS, PAD, SAMPLES, Work, ending_bias

from rivals.ic_models import (
    Att2in2Core,
    ImageCaptioning,
    RecurrentCaptioning,
    UpDownCore,
    likelihood_loss,
)
from rivals.ic_search import beam_search, write
from rivals.ic_self_critical import SelfCriticalStep


@dataclass(frozen=True)
class Rival:
    """A rival's side: its name, what is timed, its parameters, and whether its work equals ours."""

    name: str
    run: Callable[[], object]
    parameters: int
    equal_work: bool = True


def att2in(work: Work) -> ImageCaptioning:
    return RecurrentCaptioning(Att2in2Core, width=512, attention=512, pooled=False, **_sizes(work))


def updown(work: Work) -> ImageCaptioning:
    return RecurrentCaptioning(UpDownCore, width=1000, attention=512, pooled=True, **_sizes(work))


def _sizes(work: Work) -> dict[str, int]:
    return {"vocabulary": work.vocabulary, "memory_dim": work.width, "steps": work.steps}


# the models of ImageCaptioning.pytorch: what builds them, and whether their work equals ours
IC = {
    "att2in": (att2in, False),  # which embeds the cells first
    "att2in_512": (att2in, True),
    "updown": (updown, False),
    "updown_1000": (updown, True),
}


def rival_of(work: Work) -> Rival | None:
    """Return the rival of a work, None where there is none."""
    if work.family in IC and work.operation not in ("predict", "cold_start"):
        return _image_captioning(work)
    return None


def _image_captioning(work: Work) -> Rival:
    build, equal = IC[work.family]
    torch.manual_seed(0)
    model = build(work).to(work.device)
    model.bos, model.eos, model.pad = BOS, EOS, PAD
    slots = work.slots()
    run = _steps(model, work, slots)
    count = sum(parameter.numel() for parameter in model.parameters())
    return Rival("ImageCaptioning.pytorch", run, count, equal)


def _steps(model: ImageCaptioning, work: Work, slots: torch.Tensor) -> Callable[[], object]:
    if work.operation in ("greedy", "beam"):
        model.eval()
        # an end that no caption comes to, or that each comes to after 8 to 16 words
        model.ending = ending_bias if work.realistic else lambda last, _: -1e4 + 0.0 * last

        def decode() -> object:
            with torch.no_grad(), precision(work):
                if work.operation == "beam":
                    return beam_search(model, slots, 5)
                return write(model, slots, greedy=True)

        return decode
    model.train()
    tokens, _ = work.tokens()
    if work.operation == "train":

        def loss() -> torch.Tensor:
            return likelihood_loss(model, slots, tokens)
    else:
        step = SelfCriticalStep(
            model,
            made_references(work),
            samples=SAMPLES,
            greedy_baseline=work.operation == "self_critical",
        )

        def loss() -> torch.Tensor:
            return step(slots)

    return trained(model, work, loss)


def trained(
    model: torch.nn.Module, work: Work, loss: Callable[[], torch.Tensor]
) -> Callable[[], object]:
    """Return forward and backward of a loss."""

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with precision(work):
            value = loss()
        value.backward()

    return run


def precision(work: Work) -> contextlib.AbstractContextManager[Any]:
    """Return autocast to the work's type, as on our side; nothing in float32."""
    if work.dtype == "float32":
        return contextlib.nullcontext()
    device = torch.device(work.device).type
    return torch.autocast(device, dtype=getattr(torch, work.dtype))
