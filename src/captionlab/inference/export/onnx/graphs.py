"""A captioner as three graphs: encoder, first step, every further step.

``encoder``: images -> slots, pooled, mask (boxes). ``begin``: these, the first token of each beam (and
noise, for a latent decoder) -> logits, weights where it looks, and the state as ``present.NAME``.
``step``: tokens, the state as ``past.NAME`` -> logits, weights, and what changes as ``present.NAME``.

The first step has a graph of its own because there decoders make what they keep of an image, and some
write their first word in another way than the rest.

Legend: B images, W beams, V vocabulary, Z latent width.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, first_line
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
)
from captionlab.inference.export.onnx.packages import onnx_library
from captionlab.models.captioner import Captioner

IMAGES_INPUT, TOKENS, NOISE, LOGITS, WEIGHTS = "images", "tokens", "noise", "logits", "weights"
PAST, PRESENT = "past.", "present."
ENCODER, BEGIN, STEP = "encoder", "begin", "step"
TOKENS_SHAPE: Shape = (BATCH, BEAMS)
# what torch's exporter says of itself at every export
_CHATTER = ("torch.onnx", "torch.export", "torch._guards", "onnxscript", "onnx_ir")


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

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return slots, pooled, mask and, where there are any, boxes."""
        return tuple(leaves(self.captioner.encode(images)).values())


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
    name = type(decoder).__name__
    if not getattr(decoder, "learns", True):
        raise UserError(
            f"a {name} looks its captions up among those of its training images, which no graph of "
            "ONNX can do: say --format safetensors"
        )
    memory = captioner.encode(images)
    outline = outline_state(decoder, memory)
    noise = decoder.latent if hasattr(decoder, "init_state_with") else None
    encoder = _trace(
        EncoderModule(captioner),
        {IMAGES_INPUT: (images[:IMAGES], (BATCH, *images.shape[1:]))},
        list(leaves(memory)),
    )
    step, longest = _trace_step(decoder, outline)
    kept = _kept(step, outline)
    begin = _trace(
        BeginModule(decoder, memory.first(IMAGES), outline, kept),
        _begin_inputs(memory.first(IMAGES), noise),
        [LOGITS, *_weights(outline), *(PRESENT + name for name in kept)],
    )
    counters = {k: v for k, v in outline.counters.items() if PAST + k in _inputs(step)}
    return Graphs({ENCODER: encoder, BEGIN: begin, STEP: step}, counters, longest, noise)


def _begin_inputs(memory: Memory, noise: int | None) -> dict[str, tuple[Leaf, Shape]]:
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, tensor in leaves(memory).items():
        inputs[name] = tensor, (BATCH, *tensor.shape[1:])
    if noise is not None:
        inputs[NOISE] = torch.zeros(IMAGES, WIDTH, noise), (BATCH, BEAMS, noise)
    return inputs


def _trace_step(decoder: Any, outline: StateOutline) -> tuple[Any, int | None]:
    """Return the graph of a step, and the most tokens of a caption, None for no limit."""
    names = [*outline.shapes, *outline.counters]
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, leaf in zip(names, example(outline, names), strict=True):
        inputs[PAST + name] = leaf, outline.shapes.get(name, ())
    outputs = [PRESENT + name for name in names if name in outline.beams]
    limits: dict[str, int] = {}
    module = StepModule(decoder, outline, names)
    model = _trace(module, inputs, [LOGITS, *_weights(outline), *outputs], limits)
    longest = [
        largest - outline.counters[name.removeprefix(PAST)] + 1 for name, largest in limits.items()
    ]
    _drop_unread(model)
    return model, min(longest, default=None)


def _tokens() -> Tensor:
    return torch.ones(IMAGES, WIDTH, dtype=torch.long)


def _weights(outline: StateOutline) -> list[str]:
    return [WEIGHTS] if outline.attends else []


def _inputs(model: Any) -> list[str]:
    return [value.name for value in model.graph.input]


def _kept(step: Any, outline: StateOutline) -> list[str]:
    """Return the names of the state's tensors that the graph of a step reads."""
    read = [name.removeprefix(PAST) for name in _inputs(step)]
    return [name for name in read if name in outline.shapes]


def _drop_unread(step: Any) -> None:
    """Take out of the graph of a step the parts of the state that it does not read."""
    read = {name for node in step.graph.node for name in node.input}
    for value in [v for v in step.graph.input if v.name not in read and v.name != TOKENS]:
        step.graph.input.remove(value)
        name = PRESENT + value.name.removeprefix(PAST)
        for output in [o for o in step.graph.output if o.name == name]:
            step.graph.output.remove(output)


def _trace(
    module: nn.Module,
    inputs: Mapping[str, tuple[Leaf, Shape]],
    outputs: Sequence[str],
    limits: dict[str, int] | None = None,
) -> Any:
    """Return the ONNX model of a module.

    ``inputs`` are an example of each, and its shape. ``limits`` takes the largest value of each
    integer input that has one. UserError where torch's exporter cannot follow the module.
    """
    onnx_library()
    examples = [value for value, _ in inputs.values()]
    dims = {what: torch.export.Dim(what) for what in (BATCH, BEAMS, WORDS)}
    shapes = tuple(
        {place: dims[s] for place, s in enumerate(shape) if isinstance(s, str)}
        if isinstance(value, Tensor)
        else torch.export.Dim.DYNAMIC
        for value, shape in inputs.values()
    )
    single = isinstance(module, EncoderModule)
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                tuple(examples),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes={"images": shapes[0]} if single else {"inputs": shapes},
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _refusal(module, error.__cause__ or error) from error
    assert program is not None
    model = program.model_proto
    _require_dynamic(module, model, inputs)
    if limits is not None:
        limits |= _largest(program.exported_program, inputs)
    _without_traces(model)
    return model


def _refusal(module: nn.Module, error: BaseException) -> UserError:
    part: Any = getattr(module, "decoder", None)
    what = type(module.captioner.encoder if part is None else part).__name__  # type: ignore[union-attr]
    return UserError(
        f"a {what} cannot be exported to ONNX: torch's exporter cannot follow it "
        f"({first_line(error)[:300]}); say --format safetensors"
    )


def _require_dynamic(
    module: nn.Module, model: Any, inputs: Mapping[str, tuple[Leaf, Shape]]
) -> None:
    """Raise UserError for a graph that holds for one number of images, beams or words alone."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, inputs[value.name][1], strict=True):
            if isinstance(size, str):
                if not dim.HasField("dim_param"):
                    reason = f"its {value.name} is always of {dim.dim_value} in {size}"
                    raise _refusal(module, ValueError(reason))
                dim.dim_param = size


def _largest(program: Any, inputs: Mapping[str, tuple[Leaf, Shape]]) -> dict[str, int]:
    """Return the largest value that the program allows for each integer input that has a limit."""
    found = {}
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
    for node, (name, (value, _)) in zip(placeholders[-len(inputs) :], inputs.items(), strict=True):
        if isinstance(value, Tensor):
            continue
        allowed = program.range_constraints.get(node.meta["val"].node.expr)
        if allowed is not None and allowed.upper.is_finite and int(allowed.upper) < 2**31:
            found[name] = int(allowed.upper)
    return found


def _without_traces(model: Any) -> None:
    """Take out what tells of the machine that traced a model: its files, line by line."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself off the terminal."""
    loggers = [logging.getLogger(name) for name in _CHATTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
