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
from torch import nn

from captionlab.core.errors import UserError, first_line
from captionlab.core.memory import Memory
from captionlab.inference.export.onnx.flatten import (
    IMAGES,
    Leaf,
    Shape,
    StateOutline,
    leaves,
    outline_state,
    require_no_index,
)
from captionlab.inference.export.onnx.graphs import (
    BEGIN,
    ENCODER,
    STEP,
    BeginModule,
    EncoderModule,
    StepModule,
    begin_inputs,
    encoder_inputs,
    latent_width,
    longest_caption,
    random_images,
    step_inputs,
    step_outputs,
)
from captionlab.inference.export.onnx.runner import runner_settings
from captionlab.inference.export.onnx.tracing import dynamic_shapes, largest_values
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
    images = random_images(captioner.encoder.image_size)
    memory = captioner.encode(images)
    outline = outline_state(decoder, memory)
    noise = latent_width(decoder)
    parts = {
        ENCODER: Part(
            EncoderModule(captioner),
            encoder_inputs(images),
            list(leaves(memory)),
        ),
        BEGIN: _begin(decoder, memory.first(IMAGES), outline, noise),
        STEP: _step(decoder, outline),
    }
    limits: dict[str, int] = {}
    for name, part in parts.items():
        limits |= _write(part, folder / f"{name}{ENDING}")
    shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
    return {
        "programs": {
            name: {"inputs": list(part.inputs), "outputs": part.outputs}
            for name, part in parts.items()
        },
        "counters": dict(outline.counters),
        "longest": longest_caption(limits, outline),
        "noise": noise,
        "runner": runner_settings(loaded),
    }


def _begin(decoder: Any, memory: Memory, outline: StateOutline, noise: int | None) -> Part:
    kept = list(outline.shapes)
    module = BeginModule(decoder, memory, outline, kept)
    return Part(module, begin_inputs(memory, noise), step_outputs(outline, kept))


def _step(decoder: Any, outline: StateOutline) -> Part:
    names = [*outline.shapes, *outline.counters]
    moved = [name for name in names if name in outline.beams]
    module = StepModule(decoder, outline, names)
    return Part(module, step_inputs(outline, names), step_outputs(outline, moved))


def _write(part: Part, path: Path) -> dict[str, int]:
    """Export a part into a file; return the largest value of each integer input that has one."""
    single = isinstance(part.module, EncoderModule)
    examples = tuple(value for value, _ in part.inputs.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                part.module.eval(),
                examples,
                dynamic_shapes=dynamic_shapes(part.inputs),
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
    return largest_values(program, part.inputs)


def _without_traces(program: torch.export.ExportedProgram) -> None:
    """Take out what tells of the machine that made a program, and the example it was tried with."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _TRACES:
                    node.meta.pop(key, None)
    program._example_inputs = None
