"""A module as an ONNX model, by torch's exporter, with sizes that follow the batch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, first_line
from captionlab.inference.export.onnx.flatten import BATCH, BEAMS, WORDS, Leaf, Shape
from captionlab.inference.export.onnx.packages import onnx_library

# what torch's exporter says of itself at every export
_CHATTER = ("torch.onnx", "torch.__trace", "torch.export", "torch._guards", "onnxscript", "onnx_ir")


def trace(
    what: str,
    module: nn.Module,
    inputs: Mapping[str, tuple[Leaf, Shape]],
    outputs: Sequence[str],
    limits: dict[str, int] | None = None,
) -> Any:
    """Return the ONNX model of a module that takes tensors and integers one by one.

    Args:
        what: the class of the captioner's part, for messages.
        inputs: an example of each, and its shape.
        limits: takes the largest value of each integer input that has one.

    Raises:
        UserError: where torch's exporter cannot follow the module.
    """
    onnx_library()
    examples = [value for value, _ in inputs.values()]
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                tuple(examples),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic_shapes(inputs),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _refusal(what, error.__cause__ or error) from error
    assert program is not None
    model = program.model_proto
    _require_dynamic(what, model, inputs)
    if limits is not None:
        limits |= largest_values(program.exported_program, inputs)
    _without_traces(model)
    return model


def _refusal(what: str, error: BaseException) -> UserError:
    return UserError(
        f"a {what} cannot be exported to ONNX: torch's exporter cannot follow it "
        f"({first_line(error)[:300]}); say --format safetensors"
    )


def _require_dynamic(what: str, model: Any, inputs: Mapping[str, tuple[Leaf, Shape]]) -> None:
    """Raise UserError for a graph that holds for one number of images, beams or words alone."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, inputs[value.name][1], strict=True):
            if isinstance(size, str):
                if not dim.HasField("dim_param"):
                    reason = f"its {value.name} is always of {dim.dim_value} in {size}"
                    raise _refusal(what, ValueError(reason))
                dim.dim_param = size


def dynamic_shapes(inputs: Mapping[str, tuple[Leaf, Shape]]) -> dict[str, Any]:
    """Return how the sizes of a module's inputs depend on the batch, as torch's exporters want it."""
    dims = {what: torch.export.Dim(what) for what in (BATCH, BEAMS, WORDS)}
    shapes = (
        {place: dims[s] for place, s in enumerate(shape) if isinstance(s, str)}
        if isinstance(value, Tensor)
        else torch.export.Dim.DYNAMIC
        for value, shape in inputs.values()
    )
    return {"inputs": tuple(shapes)}


def largest_values(program: Any, inputs: Mapping[str, tuple[Leaf, Shape]]) -> dict[str, int]:
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
