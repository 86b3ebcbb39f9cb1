"""Graphs as files that share one file of weights.

The first step and every further one read the same weights: each array is stored once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionlab.inference.export.onnx.packages import onnx_library

WEIGHTS_FILE = "weights.bin"
_LEAST = 1024  # bytes; smaller arrays stay in their graph, where shapes are computed of them
_ALIGNMENT = 64


def graph_file(name: str) -> str:
    """Return the name of a graph's file."""
    return f"{name}.onnx"


def save_graphs(models: Mapping[str, Any], folder: Path) -> None:
    """Write models into a folder, ``NAME.onnx`` each, with their weights in one file."""
    places: dict[bytes, int] = {}
    models = {name: _copy(model) for name, model in models.items()}
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


def _copy(model: Any) -> Any:
    copied = onnx_library().ModelProto()
    copied.CopyFrom(model)
    return copied


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
