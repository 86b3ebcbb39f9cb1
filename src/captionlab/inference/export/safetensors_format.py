"""Weights as safetensors: numbers and their names, nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.tensor_files import dense, load_tensors

LONGEST_HEADER = 10 * 2**20  # bytes; a thousand tensors have 150 kB


def write_weights(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> dict[str, str]:
    """Write weights, each tensor once; return under which other names some of them stand.

    Tied weights are ``{name: the name in the file}``. Floating-point tensors are stored as ``dtype``.

    Raises:
        UserError: for a weight that is no finite number at ``dtype``, and without safetensors.
    """
    library = _library(str(path))
    stored: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            tied[name] = first[place]
            continue
        first[place] = name
        kept = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if (tensor.isfinite() & ~kept.isfinite()).any():
            raise UserError(f"{name} has numbers beyond {dtype}: leave --fp16 out")
        # a copy: slices of one storage are refused
        stored[name] = kept.detach().contiguous().clone()
    library.save_file(stored, path)
    return tied


def read_weights(path: Path, tied: object) -> dict[str, Tensor]:
    """Return the weights of a file by name, on the CPU, in float32 where they are stored in halves.

    ``tied`` are more names for some of them.

    Raises:
        UserError: if it is no such file, or one that claims more than it holds.
    """
    _require_header(path)
    weights = dense(load_tensors(path, str(path)), "", str(path))
    if not isinstance(tied, Mapping):
        raise UserError(f"{path}: its tied names are {tied!r:.40}, and a dict belongs there.")
    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    for name, source in tied.items():
        if name in weights or not isinstance(source, str) or source not in weights:
            raise UserError(f"{path} has no weights {source!r:.60} to be those of {name!r:.60}.")
    every = weights | {name: weights[source] for name, source in tied.items()}
    return dense(every, "", str(path))


def _require_header(path: Path) -> None:
    """Raise UserError for a header that would take long to read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > LONGEST_HEADER:
        raise UserError(f"{path} is no safetensors file: its header would have {length:,} bytes.")


def _library(where: str) -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        raise UserError(f"{where} needs safetensors: pip install 'captionlab[export]'") from error
    module: ModuleType = safetensors.torch
    return module
