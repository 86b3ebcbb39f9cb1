"""A captioner as three programs of torch.export, and a script that needs torch and not captionlab.

The programs are those of the ONNX format (``onnx/graphs.py``): ``encoder``, ``begin``, ``step``.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, first_line
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
    require_no_index,
)
from captionlab.inference.export.onnx.graphs import (
    BEGIN,
    ENCODER,
    IMAGES_INPUT,
    LOGITS,
    NOISE,
    PAST,
    PRESENT,
    STEP,
    TOKENS,
    TOKENS_SHAPE,
    WEIGHTS,
    BeginModule,
    EncoderModule,
    StepModule,
)
from captionlab.inference.export.onnx.runner import runner_settings
from captionlab.inference.loaded import LoadedCaptioner

RUNNER = "caption_torch.py"
ENDING = ".pt2"
# of a program's nodes, what tells of the machine that made it
_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


@dataclass(frozen=True)
class Part:
    """A module to export, an example of each of its inputs with its shape, the names of its outputs."""

    module: nn.Module
    inputs: Mapping[str, tuple[Leaf, Shape]]
    outputs: list[str]


@torch.no_grad()
def write_programs(loaded: LoadedCaptioner, folder: Path) -> dict[str, Any]:
    """Write a captioner's programs and their runner into a folder; return what its list says of them.

    Raises:
        UserError: for a captioner that torch.export cannot follow, with the reason.
    """
    captioner = loaded.captioner.cpu().eval()
    decoder: Any = captioner.decoder
    require_no_index(captioner, "program of torch.export")
    size = captioner.encoder.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=generator)
    memory = captioner.encode(images)
    outline = outline_state(decoder, memory)
    noise = decoder.latent if hasattr(decoder, "init_state_with") else None
    parts = {
        ENCODER: Part(
            EncoderModule(captioner),
            {IMAGES_INPUT: (images[:IMAGES], (BATCH, *images.shape[1:]))},
            list(leaves(memory)),
        ),
        BEGIN: _begin(decoder, memory.first(IMAGES), outline, noise),
        STEP: _step(decoder, outline),
    }
    limits: dict[str, int] = {}
    for name, part in parts.items():
        limits |= _write(part, folder / f"{name}{ENDING}")
    shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
    longest = [top - outline.counters[name.removeprefix(PAST)] + 1 for name, top in limits.items()]
    return {
        "programs": {
            name: {"inputs": list(part.inputs), "outputs": part.outputs}
            for name, part in parts.items()
        },
        "counters": dict(outline.counters),
        "longest": min(longest, default=None),
        "noise": noise,
        "runner": runner_settings(loaded),
    }


def _begin(decoder: Any, memory: Any, outline: StateOutline, noise: int | None) -> Part:
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, tensor in leaves(memory).items():
        inputs[name] = tensor, (BATCH, *tensor.shape[1:])
    if noise is not None:
        inputs[NOISE] = torch.zeros(IMAGES, WIDTH, noise), (BATCH, BEAMS, noise)
    kept = list(outline.shapes)
    outputs = [LOGITS, *_weights(outline), *(PRESENT + name for name in kept)]
    return Part(BeginModule(decoder, memory, outline, kept), inputs, outputs)


def _step(decoder: Any, outline: StateOutline) -> Part:
    names = [*outline.shapes, *outline.counters]
    inputs: dict[str, tuple[Leaf, Shape]] = {TOKENS: (_tokens(), TOKENS_SHAPE)}
    for name, leaf in zip(names, example(outline, names), strict=True):
        inputs[PAST + name] = leaf, outline.shapes.get(name, ())
    outputs = [PRESENT + name for name in names if name in outline.beams]
    module = StepModule(decoder, outline, names)
    return Part(module, inputs, [LOGITS, *_weights(outline), *outputs])


def _tokens() -> Tensor:
    return torch.ones(IMAGES, WIDTH, dtype=torch.long)


def _weights(outline: StateOutline) -> list[str]:
    return [WEIGHTS] if outline.attends else []


def _write(part: Part, path: Path) -> dict[str, int]:
    """Export a part into a file; return the largest value of each integer input that has one."""
    dims = {what: torch.export.Dim(what) for what in (BATCH, BEAMS, WORDS)}
    shapes = tuple(
        {place: dims[s] for place, s in enumerate(shape) if isinstance(s, str)}
        if isinstance(value, Tensor)
        else torch.export.Dim.DYNAMIC
        for value, shape in part.inputs.values()
    )
    single = isinstance(part.module, EncoderModule)
    examples = tuple(value for value, _ in part.inputs.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                part.module.eval(),
                examples,
                dynamic_shapes={"inputs": shapes},
            )
    except Exception as error:  # torch raises whatever the module's code leads it to
        module: Any = part.module
        owner = module.captioner.encoder if single else module.decoder
        raise UserError(
            f"a {type(owner).__name__} cannot be exported: torch.export cannot follow it "
            f"({first_line(error)[:300]}); say --format safetensors"
        ) from error
    _without_traces(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return _largest(program, part.inputs)


def _without_traces(program: torch.export.ExportedProgram) -> None:
    """Take out what tells of the machine that made a program, and the example it was tried with."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _TRACES:
                    node.meta.pop(key, None)
    program._example_inputs = None


def _largest(
    program: torch.export.ExportedProgram, inputs: Mapping[str, tuple[Leaf, Shape]]
) -> dict[str, int]:
    """Return the largest value that a program allows for each integer input that has a limit."""
    largest = {}
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, (name, (value, _)) in zip(placeholders[-len(inputs) :], inputs.items(), strict=True):
        if isinstance(value, Tensor):
            continue
        allowed = program.range_constraints.get(node.meta["val"].node.expr)
        if allowed is not None and allowed.upper.is_finite and int(allowed.upper) < 2**31:
            largest[name] = int(allowed.upper)
    return largest
