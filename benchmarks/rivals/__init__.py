"""The other side of a work, written as the rival computes it, at equal sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measuring.references import made_references
from measuring.work import BOS, EOS, FIRST_WORD, PAD, SAMPLES, Work, ending_bias

from rivals.ic_models import (
    Att2in2Core,
    ImageCaptioning,
    RecurrentCaptioning,
    UpDownCore,
    likelihood_loss,
)
from rivals.ic_search import beam_search, write
from rivals.ic_self_critical import SelfCriticalStep
from rivals.ic_transformer import Transformer
from rivals.show_attend_tell import ShowAttendTell
from rivals.show_attend_tell import beam_search as sat_search
from rivals.show_attend_tell import likelihood_loss as sat_loss


@dataclass(frozen=True)
class Rival:
    """A rival's side: its name, what is timed, its parameters, and whether its work equals ours.

    It does not where overrides were asked for, of which a rival knows nothing.
    """

    name: str
    run: Callable[[], object]
    parameters: int
    equal_work: bool = True


def att2in(work: Work) -> ImageCaptioning:
    return RecurrentCaptioning(Att2in2Core, width=512, attention=512, pooled=False, **_sizes(work))


def updown(work: Work) -> ImageCaptioning:
    return RecurrentCaptioning(UpDownCore, width=1000, attention=512, pooled=True, **_sizes(work))


def transformer(work: Work) -> ImageCaptioning:
    return Transformer(**_sizes(work))


def _sizes(work: Work) -> dict[str, int]:
    return {"vocabulary": work.vocabulary, "memory_dim": work.width, "steps": work.steps}


# the models of ImageCaptioning.pytorch: what builds them, and whether their work equals ours
IC = {
    "att2in": (att2in, False),  # which embeds the cells first
    "att2in_512": (att2in, True),
    "updown": (updown, False),
    "updown_1000": (updown, True),
    "transformer": (transformer, True),
}


def rival_of(work: Work) -> Rival | None:
    """Return the rival of a work, None where there is none."""
    if work.operation in ("predict", "cold_start"):
        return None
    if work.family in IC:
        return _image_captioning(work)
    if work.realistic or work.operation not in ("train", "greedy", "beam"):
        return None
    if work.family == "attn_lstm":
        return _show_attend_tell(work)
    return _hugging_face(work) if work.family == "gpt2" else None


def _image_captioning(work: Work) -> Rival:
    build, equal = IC[work.family]
    torch.manual_seed(0)
    model = build(work).to(work.device)
    model.bos, model.eos, model.pad = BOS, EOS, PAD
    slots = work.slots()
    run = _steps(model, work, slots)
    return Rival("ImageCaptioning.pytorch", run, parameters_of(model), equal and not work.overrides)


def _show_attend_tell(work: Work) -> Rival:
    torch.manual_seed(0)
    model = ShowAttendTell(work.width, work.vocabulary).to(work.device)
    slots, (tokens, lengths) = work.slots(), work.tokens()
    if work.operation == "train":
        run = trained(model.train(), work, lambda: sat_loss(model, slots, tokens, lengths))
    else:
        size = 5 if work.operation == "beam" else 1
        run = inferred(
            work, lambda: sat_search(model.eval(), slots, size, steps=work.steps, bos=BOS)
        )
    return Rival("Show-Attend-Tell tutorial", run, parameters_of(model))


def _hugging_face(work: Work) -> Rival:
    from rivals.hugging_face import Gpt2

    torch.manual_seed(0)
    model = Gpt2(work.width, work.vocabulary - FIRST_WORD).to(work.device)
    slots, (tokens, lengths) = work.slots(), work.tokens()
    tokens = (tokens - FIRST_WORD).clamp_min(0)
    if work.operation == "train":
        run = trained(model.train(), work, lambda: model(slots, tokens, lengths))
        return Rival("transformers GPT-2", run, parameters_of(model))
    beams = 5 if work.operation == "beam" else 1
    run = inferred(work, lambda: model.eval().decode(slots, beams, steps=work.steps, bos=BOS))
    return Rival("transformers GPT-2", run, parameters_of(model))


def _steps(model: ImageCaptioning, work: Work, slots: torch.Tensor) -> Callable[[], object]:
    if work.operation in ("greedy", "beam"):
        model.eval()
        # an end that no caption comes to, or that each comes to after 8 to 16 words
        model.ending = ending_bias if work.realistic else lambda last, _: -1e4 + 0.0 * last

        if work.operation == "beam":
            return inferred(work, lambda: beam_search(model, slots, 5))
        return inferred(work, lambda: write(model, slots, greedy=True))
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


def inferred(work: Work, decode: Callable[[], object]) -> Callable[[], object]:
    """Return a decoding without gradients, in the work's precision."""

    def run() -> object:
        with torch.no_grad(), precision(work):
            return decode()

    return run


def parameters_of(module: torch.nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def precision(work: Work) -> contextlib.AbstractContextManager[Any]:
    """Return autocast to the work's type, as on our side; nothing in float32."""
    if work.dtype == "float32":
        return contextlib.nullcontext()
    device = torch.device(work.device).type
    return torch.autocast(device, dtype=getattr(torch, work.dtype))
