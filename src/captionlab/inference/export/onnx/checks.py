"""The graph of a stranger, looked at before onnxruntime opens it.

A graph takes as much memory as its file, and as its run may (``session.MOST_MEMORY``). So it has no
loop and no function, which may run for ever; no text, sequence or optional value, whose memory nobody
bounds; and its weights are what the folder holds, each a few times at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captionlab.core.errors import UserError
from captionlab.inference.export.onnx.packages import onnx_library
from captionlab.inference.export.onnx.storage import WEIGHTS_FILE

LARGEST_GRAPH = 64 * 2**20  # bytes without the weights; GPT-2's has less than one million
MOST_NODES = 20_000  # a Vision Transformer of 12 layers in eight bits has 1,100
MOST_SHARING = 4  # tensors of a graph that are the same bytes, on average
# what torch's exporter and onnxruntime's quantization make of captioners: tensors of numbers to such
_OPERATORS = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
ConstantOfShape Conv ConvInteger Cos CumSum DequantizeLinear Div DynamicQuantizeLinear Einsum Elu
Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
GlobalMaxPool Greater GreaterOrEqual GroupNormalization GRU HardSigmoid HardSwish Identity
InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
LSTM MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or Pad Pow PRelu
QLinearConv QLinearMatMul QuantizeLinear RandomNormalLike RandomUniformLike Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize RMSNormalization RNN Round ScatterElements ScatterND Selu
Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tanh
Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())


def require_safe_graph(path: Path) -> None:
    """Check the graph of a stranger before it is loaded: what it reads, and which operators it names.

    Raises:
        UserError: if it is no such graph, is too large, reads another file than the folder's weights
            or more than those hold, or names an operator that no captioner has.
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
    if len(model.graph.node) > MOST_NODES:
        yield f"it has more than {MOST_NODES:,} nodes"
    for node in model.graph.node:
        yield from _problems_of_node(node)
    read = 0
    for tensor in model.graph.initializer:
        yield from _problems_of_tensor(tensor, size)
        read += sum(int(entry.value) for entry in tensor.external_data if entry.key == "length")
    if read > MOST_SHARING * size:
        yield f"its weights read the {size:,} bytes of {WEIGHTS_FILE} more than {MOST_SHARING} times"


def _problems_of_node(node: Any) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx"):
        yield f"it names the operator {node.op_type:.60} of {node.domain!r:.60}"
    if node.op_type not in OPERATORS:
        yield f"it has a {node.op_type:.60}, and a captioner's graphs have none"
    for attribute in node.attribute:
        if attribute.HasField("g") or len(attribute.graphs):
            yield f"its {node.op_type} holds a graph"
        if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
            yield f"its {node.op_type} holds a sparse tensor"
        for tensor in (attribute.t, *attribute.tensors):
            if tensor.data_location or len(tensor.external_data):
                yield f"its {node.op_type} reads a file"


def _problems_of_tensor(tensor: Any, size: int) -> Iterator[str]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not entries and not tensor.data_location:
        return
    known = entries.keys() <= {"location", "offset", "length"}
    if (
        entries.get("location") != WEIGHTS_FILE
        or not known
        or len(entries) < len(tensor.external_data)
    ):
        yield f"its weights {tensor.name!r:.60} are in {entries.get('location')!r:.60}"
        return
    numbers = [entries.get("offset", "0"), entries.get("length", "")]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        yield f"its weights {tensor.name!r:.60} have no place"
        return
    offset, length = map(int, numbers)
    if offset + length > size:
        yield f"its weights {tensor.name!r:.60} reach beyond the end of {WEIGHTS_FILE}"
