"""Captionlab's side of each operation, through interfaces that its earlier revisions have too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captionlab.build import Sizes, build_captioner
from captionlab.config.compose import compose
from captionlab.config.instantiate import build_part
from captionlab.config.resolve import resolve
from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionBatch
from captionlab.decoding import Beam, Greedy
from captionlab.objectives.policy_gradient.rewards import TrainingText
from measuring import photos
from measuring.references import made_references
from measuring.work import BOS, EOS, FAMILIES, PAD, SAMPLES, Work, ending_bias


@dataclass(frozen=True)
class Operation:
    """What is timed; the captions that it writes, if any; the captioner's parameters.

    ``overhead`` is a part of it whose time does not count; ``cpu`` tells the seconds of CPU so far.
    """

    run: Callable[[], object]
    captions: Callable[[], list[list[int]]] | None = None
    parameters: int = 0
    overhead: Callable[[], object] | None = None
    cpu: Callable[[], float] = time.process_time


def configured(work: Work, *more: str) -> dict[str, Any]:
    """Return the resolved configuration of a family on stored features of the work's width."""
    overrides = [
        *FAMILIES[work.family].overrides,
        "model/encoder=regions",
        f"model.encoder.dim={work.width}",
        *work.overrides,
        *more,
        "output_dir=.",
    ]
    return resolve(compose(overrides))


def build(work: Work, config: dict[str, Any]) -> Any:
    """Return the family's captioner with random weights."""
    torch.manual_seed(0)
    captioner = build_captioner(config["model"], Sizes(work.vocabulary, PAD))
    return captioner.to(work.device)


def memory_of(slots: Tensor) -> Memory:
    """Return the memory of features (B,N,D)."""
    mask = torch.ones(slots.shape[:2], dtype=torch.bool, device=slots.device)
    return Memory(slots, slots.mean(1), mask)


def batch_of(work: Work) -> CaptionBatch:
    """Return a batch of stored features and captions."""
    tokens, lengths = work.tokens()
    ids = list(range(work.images))
    return CaptionBatch(memory_of(work.slots()), tokens, lengths, ids, [[""]] * work.images)


def precision(work: Work) -> contextlib.AbstractContextManager[Any]:
    """Return autocast to the work's type; nothing in float32."""
    if work.dtype == "float32":
        return contextlib.nullcontext()
    device = torch.device(work.device).type
    return torch.autocast(device, dtype=getattr(torch, work.dtype))


def operation(work: Work) -> Operation:
    """Return captionlab's side of a work; raises where this revision cannot do it."""
    if work.operation == "predict":
        run, overhead = photos.predicting(work)
        return Operation(run, overhead=overhead)
    if work.operation == "cold_start":
        return Operation(photos.starting(work), cpu=photos.time_of_children)
    make = {"train": _train, "greedy": _decode, "beam": _decode}.get(work.operation, _self_critical)
    return make(work)


def _train(work: Work) -> Operation:
    config = configured(work, "objective=cross_entropy")
    captioner = build(work, config).train()
    objective = build_part(config["objective"], "objective")
    return _step(work, captioner, objective)


def _self_critical(work: Work) -> Operation:
    baseline = "greedy" if work.operation == "self_critical" else "leave_one_out"
    config = configured(
        work,
        "objective=self_critical",
        f"objective.baseline={baseline}",
        f"objective.num_samples={SAMPLES}",
        f"objective.max_length={work.steps}",
    )
    captioner = build(work, config).train()
    objective = build_part(config["objective"], "objective")
    references = made_references(work)
    objective.on_fit_start(TrainingText(references, decode=str, tokenize=str.split), {})
    return _step(work, captioner, objective.to(work.device))


def _step(work: Work, captioner: Any, objective: Any) -> Operation:
    """Return forward and backward of an objective."""
    batch = batch_of(work)

    def run() -> None:
        captioner.zero_grad(set_to_none=True)
        with precision(work):
            loss, _ = objective(captioner, batch)
        loss.backward()

    return Operation(run, parameters=parameters_of(captioner))


def _decode(work: Work) -> Operation:
    captioner = build(work, configured(work)).eval()
    stored = memory_of(work.slots())
    method: Any = Greedy(max_length=work.steps)
    if work.operation == "beam":
        method = Beam(5, length_penalty=0.0, max_length=work.steps)
    model = EndingModel(captioner) if work.realistic else captioner

    def run(eos_id: int) -> Any:
        with torch.no_grad(), precision(work):
            memory = captioner.encode(stored)
            return method(model, memory, bos_id=BOS, eos_id=eos_id, pad_id=PAD)

    eos_id = EOS if work.realistic else _unlikely(run, work)
    return Operation(
        lambda: run(eos_id), lambda: token_lists(run(eos_id)), parameters_of(captioner)
    )


class EndingModel:
    """A captioner whose captions end after 8 to 16 words."""

    def __init__(self, captioner: Any) -> None:
        self.captioner = captioner
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.captioner, name)

    def init_state(self, memory: Any, width: int) -> Any:
        """Begin anew."""
        self.steps = 0
        return self.captioner.init_state(memory, width)

    def step(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the captioner's logits, the end token's moved, and its state."""
        logits, state = self.captioner.step(token_ids, state)
        logits[..., EOS] += ending_bias(token_ids, self.steps).to(logits.dtype)
        self.steps += 1
        return logits, state


def _unlikely(run: Callable[[int], Any], work: Work) -> int:
    """Return a token that no caption comes to, to stand for the end: each caption has all steps."""
    for token in range(EOS, work.vocabulary):
        if int(run(token).lengths.min()) == work.steps:
            return token
    raise ValueError("each token ends some caption")


def token_lists(generated: Any) -> list[list[int]]:
    """Return the best caption of each image without padding."""
    rows, lengths = generated.tokens[:, 0].tolist(), generated.lengths[:, 0].tolist()
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def parameters_of(module: Any) -> int:
    """Return the number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
