"""A graph of an exported captioner, opened with onnxruntime and held against what its folder says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from captionlab.core.errors import UserError, first_line
from captionlab.inference.export.onnx.checks import require_safe_graph
from captionlab.inference.export.onnx.packages import runtime
from captionlab.inference.export.onnx.storage import graph_file

# bytes that the graphs of a process take at a time, beside their weights
MOST_MEMORY = 4 * 2**30
_EXCEEDED = ("BFCArena", "bad allocation")  # how onnxruntime says so
Signature = dict[str, dict[str, Any]]  # inputs and outputs: {name: [type, dimensions]}


class GraphSession:
    """A graph that runs on the CPU, with as many threads as torch has, in no more than ``MOST_MEMORY``.

    Raises:
        UserError: if the file is no graph of a captioner, or cannot be run.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / graph_file(name)
        library = _bounded_runtime()
        require_safe_graph(self.path)
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = library.InferenceSession(
                str(self.path),
                options,
                providers=["CPUExecutionProvider"],
                # it computes what a graph makes of constants outside of the bounded memory
                disabled_optimizers=["ConstantFolding"],
            )
        except Exception as error:  # of onnxruntime, which has no base of its own
            raise UserError(
                f"{self.path} cannot be run by onnxruntime {library.__version__}: "
                f"{first_line(error)[:300]}"
            ) from error
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    @property
    def signature(self) -> Signature:
        """What goes in and comes out: of each name the type and the dimensions, as JSON has them."""
        return {
            kind: {value.name: [value.type, list(value.shape)] for value in values}
            for kind, values in (
                ("inputs", self._session.get_inputs()),
                ("outputs", self._session.get_outputs()),
            )
        }

    def require(self, expected: object) -> None:
        """Raise UserError unless the graph's signature is that of its folder's list."""
        for kind, values in self.signature.items():
            stated = expected.get(kind) if isinstance(expected, Mapping) else None
            stated = stated if isinstance(stated, Mapping) else {}
            for name in sorted(values.keys() | stated.keys()):
                if _differ(kind, values.get(name), stated.get(name)):
                    raise UserError(
                        f"{self.path} has {kind[:-1]} {name!r:.60} as {values.get(name)!r:.80}, and "
                        f"captionlab.json says {stated.get(name)!r:.80}: export it again."
                    )

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs of inputs by name, on the CPU.

        Raises:
            UserError: if onnxruntime cannot run them, or they take more than ``MOST_MEMORY``.
        """
        arrays = {name: inputs[name].detach().cpu().contiguous().numpy() for name in self._inputs}
        try:
            outputs = self._session.run(self._outputs, arrays)
        except Exception as error:  # as above
            if any(sign in str(error) for sign in _EXCEEDED):
                raise UserError(
                    f"{self.path} takes more than {MOST_MEMORY // 2**30} GB for these inputs: fewer "
                    "images or beams at a time, if it is a graph of a captioner at all"
                ) from error
            raise UserError(
                f"{self.path} cannot be run on these inputs: {first_line(error)[:300]}"
            ) from error
        return dict(zip(self._outputs, map(torch.from_numpy, outputs), strict=True))


@cache
def _bounded_runtime() -> ModuleType:
    """Return onnxruntime, whose graphs of this process share an allocator of bounded size."""
    library = runtime()
    place = library.OrtMemoryInfo(
        "Cpu",
        library.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        library.OrtMemType.DEFAULT,
    )
    library.create_and_register_allocator(place, library.OrtArenaCfg({"max_mem": MOST_MEMORY}))
    return library


def _differ(kind: str, own: Any, stated: Any) -> bool:
    """Return whether a value is another than stated; sizes of outputs are onnxruntime's to infer."""
    if kind == "inputs" or not (isinstance(own, list) and isinstance(stated, list)):
        return bool(own != stated)
    sound = len(stated) == 2 and isinstance(stated[1], list)
    return not sound or own[0] != stated[0] or len(own[1]) != len(stated[1])
