"""Graphs with smaller weights: halves, or eight bits.

float16 stores weights as halves; onnxruntime makes floats of them when a folder is opened, so that a
CPU, which has hardly any kernel for halves, runs as fast as with float32. int8 multiplies matrices in
eight bits, with the range of activations taken at each run; convolutions, for which that is slow, get
their range from photographs beforehand (static quantization, Jacob et al. 2018).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.inference.export.onnx.graphs import ENCODER, IMAGES_INPUT
from captionlab.inference.export.onnx.packages import onnx_library, runtime

PRECISIONS = ("float32", "float16", "int8")
_FEWEST = 256  # numbers; smaller arrays stay as they are
_LARGEST_HALF = 65_504.0
_LARGEST_FILE = 2**31 - 2**20  # bytes of a protobuf message


def lowered(models: Mapping[str, Any], precision: str, images: Iterable[Tensor]) -> dict[str, Any]:
    """Return models whose weights have a precision.

    Args:
        images: (3, h, w) uint8, prepared for the encoder; read for int8 alone.

    Raises:
        UserError: for another precision, and for an encoder of convolutions without images.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision!r}: {did_you_mean(precision, PRECISIONS)}")
    if precision == "float32":
        return dict(models)
    if precision == "float16":
        return {name: halved(model) for name, model in models.items()}
    decoder = {name: quantized(model) for name, model in models.items() if name != ENCODER}
    return {ENCODER: _quantized_encoder(models[ENCODER], list(images)), **decoder}


def halved(model: Any) -> Any:
    """Return a model that stores its weights as float16 and computes in float32."""
    onnx = onnx_library()
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < _FEWEST or not np.abs(values).max() <= _LARGEST_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def quantized(model: Any) -> Any:
    """Return a model whose matrices and embeddings have eight bits (dynamic quantization)."""
    library = _quantization()
    return _through_file(
        model,
        lambda source, target: library.quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            nodes_to_exclude=_products_with_vectors(source),
            per_channel=True,
            weight_type=library.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        ),
    )


def _products_with_vectors(path: str) -> list[str]:
    """Return the products whose weight is a vector, which has no channels."""
    graph = onnx_library().load(path).graph
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) < 2}
    return [n.name for n in graph.node if n.op_type == "MatMul" and vectors & set(n.input)]


def _quantized_encoder(model: Any, images: list[Tensor]) -> Any:
    if not any(node.op_type == "Conv" for node in model.graph.node):
        return quantized(model)
    if not images:
        raise UserError(
            "--int8: this encoder has convolutions, whose range in eight bits is taken from photographs: "
            "name a folder with some, --calibration FOLDER"
        )
    library = _quantization()
    return _through_file(
        model,
        lambda source, target: library.quantize_static(
            source,
            target,
            _reader(images),
            op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Clip"],
            per_channel=True,
            weight_type=library.QuantType.QInt8,
            activation_type=library.QuantType.QUInt8,
        ),
    )


def _reader(images: list[Tensor]) -> Any:
    """Return the images, one by one, as onnxruntime's calibration asks for them."""

    class Reader(_quantization().CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {IMAGES_INPUT: image[None].numpy()}

    return Reader()


def _quantization() -> Any:
    runtime()
    from onnxruntime import quantization

    return quantization


def _through_file(model: Any, change: Callable[[str, str], None]) -> Any:
    """Return what a function makes of a model's file; the names of what goes in and out stay."""
    onnx = onnx_library()
    if model.ByteSize() > _LARGEST_FILE:
        raise UserError(
            "--int8: this captioner's weights are beyond the 2 GB that ONNX can quantize"
        )
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared, target = (str(Path(folder, n)) for n in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(model, source)
        from onnxruntime.quantization.shape_inference import quant_pre_process

        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        change(prepared, target)
        return onnx.load(target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice on quantization, which the root logger prints, off the terminal."""
    root = logging.getLogger()
    root.addFilter(_not_of_onnxruntime)
    try:
        yield
    finally:
        root.removeFilter(_not_of_onnxruntime)


def _not_of_onnxruntime(record: logging.LogRecord) -> bool:
    return "onnxruntime" not in record.pathname
