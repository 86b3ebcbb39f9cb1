"""Graphs as files that share one file of weights.

The first step and every further one read the same weights: each array is stored once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from captionlab.core.errors import UserError
from captionlab.inference.export.onnx.packages import onnx_library

WEIGHTS_FILE = "weights.bin"
LARGEST_GRAPH = (
    64 * 2**20
)  # bytes of a graph without its weights; GPT-2's has less than one million
_LEAST = 1024  # bytes; smaller arrays stay in their graph, where shapes are computed of them
_ALIGNMENT = 64
_DOMAINS = ("", "ai.onnx", "com.microsoft")  # ONNX, and what onnxruntime has built in
# an exported captioner has no loop: one in a file may never end
_FORBIDDEN = ("Loop", "Scan", "If")


def graph_file(name: str) -> str:
    """Return the name of a graph's file."""
    return f"{name}.onnx"


def save_graphs(models: Mapping[str, Any], folder: Path) -> None:
    """Write models into a folder, ``NAME.onnx`` each, with their weights in one file."""
    places: dict[bytes, int] = {}
    with (folder / WEIGHTS_FILE).open("wb") as file:
        for model in models.values():
            for tensor in model.graph.initializer:
                data = _bytes(tensor)
                if len(data) < _LEAST:
                    continue
                key = hashlib.sha256(data).digest()
                if key not in places:
                    file.write(bytes(-file.tell() % _ALIGNMENT))
                    places[key] = file.tell()
                    file.write(data)
                _move_out(tensor, places[key], len(data))
    for name, model in models.items():
        (folder / graph_file(name)).write_bytes(model.SerializeToString())


def _bytes(tensor: Any) -> bytes:
    onnx = onnx_library()
    if tensor.HasField("raw_data"):
        data: bytes = tensor.raw_data
        return data
    array = onnx.numpy_helper.to_array(tensor)
    return array.tobytes() if array.dtype.kind in "fiub" else b""


def _move_out(tensor: Any, offset: int, length: int) -> None:
    onnx = onnx_library()
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(name)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def require_safe_graph(path: Path) -> None:
    """Check the graph of a stranger before it is loaded: what it reads, and which operators it names.

    Raises:
        UserError: if it is no such graph, is too large, reads another file than the folder's weights
            or beyond its end, or names an operator that no captioner has.
    """
    onnx = onnx_library()
    if path.stat().st_size > LARGEST_GRAPH:
        raise UserError(f"{path} is no graph of a captioner: it has more than 64 MB.")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # of protobuf, which raises its own kinds
        raise UserError(f"{path} is no ONNX graph: it is damaged.") from error
    weights = path.parent / WEIGHTS_FILE
    size = weights.stat().st_size if weights.is_file() else 0
    for problem in _problems(model, size):
        raise UserError(f"{path} is not a graph that captionlab wrote: {problem}.")


def _problems(model: Any, size: int) -> Iterator[str]:
    if len(model.functions):
        yield "it brings functions of its own"
    if len(model.graph.sparse_initializer):
        yield "it has sparse weights"
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            yield f"it names the operator {node.op_type} of {node.domain!r}"
        if node.op_type in _FORBIDDEN:
            yield f"it has a {node.op_type}, and a captioner's graphs have none"
        for attribute in node.attribute:
            if attribute.HasField("g") or len(attribute.graphs):
                yield f"its {node.op_type} holds a graph"
            for tensor in (attribute.t, *attribute.tensors):
                if tensor.data_location or len(tensor.external_data):
                    yield f"its {node.op_type} reads a file"
    for tensor in model.graph.initializer:
        yield from _problems_of_tensor(tensor, size)


def _problems_of_tensor(tensor: Any, size: int) -> Iterator[str]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not entries and not tensor.data_location:
        return
    if entries.get("location") != WEIGHTS_FILE or entries.keys() - {"location", "offset", "length"}:
        yield f"its weights {tensor.name!r:.60} are in {entries.get('location')!r:.60}"
        return
    numbers = [entries.get("offset", "0"), entries.get("length", "")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        yield f"its weights {tensor.name!r:.60} have no place"
        return
    offset, length = map(int, numbers)
    if offset + length > size:
        yield f"its weights {tensor.name!r:.60} reach beyond the end of {WEIGHTS_FILE}"
