"""A captioner as three graphs: encoder, first step, every further step.

``encoder``: images -> slots, pooled, mask (boxes). ``begin``: these, the first token of each beam (and
noise, for a latent decoder) -> logits, weights where it looks, and the state as ``present.NAME``.
``step``: tokens, the state as ``past.NAME`` -> logits, weights, and what changes as ``present.NAME``.

The first step has a graph of its own because there decoders make what they keep of an image, and some
write their first word in another way than the rest.

Legend: B images, W beams, V vocabulary, Z latent width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.inference.export.onnx.flatten import (
    BATCH,
    BEAMS,
    IMAGES,
    WIDTH,
    WORDS,
    Leaf,
    Shape,
    StateOutline,
    example,
    leaves,
    outline_state,
    rebuilt,
    require_no_index,
)
from captionlab.inference.export.onnx.tracing import trace
from captionlab.models.captioner import Captioner

IMAGES_INPUT, TOKENS, NOISE, LOGITS, WEIGHTS = "images", "tokens", "noise", "logits", "weights"
PAST, PRESENT = "past.", "present."
ENCODER, BEGIN, STEP = "encoder", "begin", "step"
TOKENS_SHAPE: Shape = (BATCH, BEAMS)


@dataclass(frozen=True)
class Graphs:
    """The models by name, the state's counters, the most tokens of a caption, the latent's width."""

    models: Mapping[str, Any]
    counters: Mapping[str, int]
    longest: int | None
    noise: int | None


class EncoderModule(nn.Module):
    """Images (B, 3, h, w) in uint8 to the tensors of their memory."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return slots, pooled, mask and, where there are any, boxes, of the images."""
        return tuple(leaves(self.captioner.encode(inputs[0])).values())


class BeginModule(nn.Module):
    """The memory of images and a first token a beam to logits and the state after them."""

    def __init__(self, decoder: Any, memory: Memory, outline: StateOutline, kept: Sequence[str]):
        super().__init__()
        self.decoder = decoder
        self.memory = memory
        self.outline = outline
        self.kept = kept

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return logits, weights and the kept tensors of tokens, the memory's tensors and noise."""
        names = list(leaves(self.memory))
        tokens, *rest = inputs
        memory = rebuilt(self.memory, dict(zip(names, rest, strict=False)))
        noise = rest[len(names) :]
        begun = (
            self.decoder.init_state_with(memory, noise[0])
            if noise
            else self.decoder.init_state(memory, tokens.shape[1])
        )
        logits, state = self.decoder.step(tokens, begun)
        weights = () if state.weights is None else (state.weights,)
        found = leaves(state)
        return (logits, *weights, *(self._tensor(name, found, logits) for name in self.kept))

    def _tensor(self, name: str, found: Mapping[str, Leaf], logits: Tensor) -> Tensor:
        """Return a tensor of the state; one that no step has made yet holds no words."""
        if name in found:
            tensor: Tensor = found[name]
            return tensor
        sizes = {BATCH: logits.shape[0], BEAMS: logits.shape[1], WORDS: 0}
        shape = self.outline.shapes[name]
        return logits.new_zeros([sizes[s] if isinstance(s, str) else s for s in shape])


class StepModule(nn.Module):
    """Tokens and a state to logits and what the step changed of the state."""

    def __init__(self, decoder: Any, outline: StateOutline, names: Sequence[str]) -> None:
        super().__init__()
        self.decoder = decoder
        self.outline = outline
        self.names = names

    def forward(self, *inputs: Leaf) -> tuple[Tensor, ...]:
        """Return logits, weights and the beams' tensors of tokens and leaves of the state."""
        tokens, *values = inputs
        state = rebuilt(self.outline.template, dict(zip(self.names, values, strict=True)))
        logits, state = self.decoder.step(tokens, state)
        found = leaves(state)
        weights = () if state.weights is None else (state.weights,)
        return (logits, *weights, *(found[name] for name in self.names if self._moves(name)))

    def _moves(self, name: str) -> bool:
        return name in self.outline.beams


@torch.no_grad()
def trace_graphs(captioner: Captioner, images: Tensor) -> Graphs:
    """Return the graphs of a captioner in evaluation mode, on the CPU.

    Args:
        images: more than two (B, 3, h, w), uint8, to try the captioner with.

    Raises:
        UserError: for a captioner that has none, with the reason.
    """
    decoder: Any = captioner.decoder
    require_no_index(captioner, "graph of ONNX")
    memory = captioner.encode(images)
    outline = outline_state(decoder, memory)
    noise = latent_width(decoder)
    encoder = trace(
        type(captioner.encoder).__name__,
        EncoderModule(captioner),
        encoder_inputs(images),
        list(leaves(memory)),
    )
    step, longest = _trace_step(decoder, outline)
    kept = _kept(step, outline)
    begin = trace(
        type(decoder).__name__,
        BeginModule(decoder, memory.first(IMAGES), outline, kept),
        begin_inputs(memory.first(IMAGES), noise),
        step_outputs(outline, kept),
    )
    counters = {k: v for k, v in outline.counters.items() if PAST + k in _inputs(step)}
    return Graphs({ENCODER: encoder, BEGIN: begin, STEP: step}, counters, longest, noise)


def random_images(size: int) -> Tensor:
    """Return more images than ``IMAGES``, uint8, to try a captioner with."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=generator)


def latent_width(decoder: Any) -> int | None:
    """Return the width of a latent decoder's noise, None for any other."""
    return decoder.latent if hasattr(decoder, "init_state_with") else None


def encoder_inputs(images: Tensor) -> dict[str, tuple[Leaf, Shape]]:
    """Return an example of the encoder's input, and its shape."""
    return {IMAGES_INPUT: (images[:IMAGES], (BATCH, *images.shape[1:]))}


def begin_inputs(memory: Memory, noise: int | None) -> dict[str, tuple[Leaf, Shape]]:
    """Return an example of each input of the first step, and its shape."""
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, tensor in leaves(memory).items():
        inputs[name] = tensor, (BATCH, *tensor.shape[1:])
    if noise is not None:
        inputs[NOISE] = torch.zeros(IMAGES, WIDTH, noise), (BATCH, BEAMS, noise)
    return inputs


def step_inputs(outline: StateOutline, names: Sequence[str]) -> dict[str, tuple[Leaf, Shape]]:
    """Return an example of each input of a further step, the state's leaves by ``names``, and its shape."""
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, leaf in zip(names, example(outline, names), strict=True):
        inputs[PAST + name] = leaf, outline.shapes.get(name, ())
    return inputs


def step_outputs(outline: StateOutline, present: Sequence[str]) -> list[str]:
    """Return the names of a step's outputs, the state's tensors ``present`` among them."""
    weights = [WEIGHTS] if outline.attends else []
    return [LOGITS, *weights, *(PRESENT + name for name in present)]


def longest_caption(limits: Mapping[str, int], outline: StateOutline) -> int | None:
    """Return the most tokens of a caption, of the largest values of counters; None for no limit."""
    longest = [top - outline.counters[name.removeprefix(PAST)] + 1 for name, top in limits.items()]
    return min(longest, default=None)


def _trace_step(decoder: Any, outline: StateOutline) -> tuple[Any, int | None]:
    """Return the graph of a step, and the most tokens of a caption, None for no limit."""
    names = [*outline.shapes, *outline.counters]
    limits: dict[str, int] = {}
    module = StepModule(decoder, outline, names)
    outputs = step_outputs(outline, [name for name in names if name in outline.beams])
    model = trace(type(decoder).__name__, module, step_inputs(outline, names), outputs, limits)
    _drop_unread(model)
    return model, longest_caption(limits, outline)


def _tokens() -> Tensor:
    return torch.ones(IMAGES, WIDTH, dtype=torch.long)


def _inputs(model: Any) -> list[str]:
    return [value.name for value in model.graph.input]


def _kept(step: Any, outline: StateOutline) -> list[str]:
    """Return the names of the state's tensors that the graph of a step reads."""
    read = [name.removeprefix(PAST) for name in _inputs(step)]
    return [name for name in read if name in outline.shapes]


def moved_tensors(step: Any) -> list[str]:
    """Return the inputs of a step that follow their beam, which the step before gives."""
    outputs = [value.name for value in step.graph.output]
    return [n.replace(PRESENT, PAST, 1) for n in outputs if n.startswith(PRESENT)]


def _drop_unread(step: Any) -> None:
    """Take out of the graph of a step the parts of the state that it does not read."""
    read = {name for node in step.graph.node for name in node.input}
    for value in [v for v in step.graph.input if v.name not in read and v.name != TOKENS]:
        step.graph.input.remove(value)
        name = PRESENT + value.name.removeprefix(PAST)
        for output in [o for o in step.graph.output if o.name == name]:
            step.graph.output.remove(output)
