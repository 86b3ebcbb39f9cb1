"""A checkpoint's file, read as the file of a stranger: data alone, and no more of it than is there.

``torch.load(weights_only=True)`` runs no code, and still believes sizes: an archive may unpack to
more than the disk holds, a tensor may claim more elements than its storage has. What passes here is
a dict of plain values and dense tensors whose bytes are in the file.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean, first_line

Plain = TypeVar("Plain")

MOST_VALUES = 2_000_000  # of a configuration and a tokenizer: a vocabulary has one for each word
DEEPEST = 40
# tied weights stand in the file once, and under two or three names
MOST_ALIASES = 4


def load_file(path: Path) -> dict[str, object]:
    """Return what a checkpoint holds, on the CPU, loaded with ``weights_only=True``.

    Raises:
        UserError: if there is no such file, it is damaged, or another program wrote it.
    """
    _require_file(path)
    try:
        _require_archive(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is a checkpoint of another project: it holds objects that only its own code "
            "can load, and captionlab does not run code out of a file."
        ) from error
    # what the bytes of a damaged file lead torch's reader to
    except (
        *(RuntimeError, EOFError, zipfile.BadZipFile, OSError, LookupError, ValueError),
        *(TypeError, AttributeError, AssertionError, OverflowError, MemoryError, RecursionError),
        *(NotImplementedError, ImportError),
    ) as error:
        reason = first_line(error)
        raise UserError(f"{path} is damaged or not a checkpoint at all ({reason}).") from error
    if not isinstance(stored, dict):
        raise UserError(
            f"{path} is a checkpoint of another project: it holds a {type(stored).__name__}."
        )
    return stored


def load_tensors(path: Path, where: str) -> object:
    """Return what a file of weights holds, on the CPU: safetensors by its name, else torch's.

    Nothing of what it holds is checked yet (``dense``).

    Raises:
        UserError: beginning with ``where``, if it is no such file.
    """
    if path.suffix == ".safetensors":
        return _safetensors(path, where)
    try:
        require_unpacked(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    # torch.load raises whatever the bytes lead it to
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{where} is not a file of PyTorch weights: {reason}") from error


def _safetensors(path: Path, where: str) -> object:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{where} needs the package: pip install safetensors") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{where} is no safetensors file: {error}") from error


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(path.glob("**/best.ckpt")) or sorted(path.glob("**/*.ckpt"))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise UserError(f"{path} is a folder, not a checkpoint{hint}")
    if not path.is_file():
        near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        hint = did_you_mean(str(path), near)
        if "=" in path.name:  # --with takes all that stands behind it
            hint = "overrides go before --with"
        raise UserError(f"There is no checkpoint {path}; {hint}")


def _require_archive(path: Path) -> None:
    """Raise UserError for anything but an archive as torch writes it."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged or not a checkpoint at all.")
    require_unpacked(path)


def require_unpacked(path: Path) -> None:
    """Raise UserError for an archive of which something is compressed: torch writes none."""
    if not zipfile.is_zipfile(path):
        return
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed = next((m for m in members if m.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or sum(m.file_size for m in members) > size:
        raise UserError(
            f"{path} is no file as torch writes it: it would unpack to more than its {size:,} bytes."
        )


def plain(value: Plain, where: str, most: int = MOST_VALUES) -> Plain:
    """Return a value of plain dicts, lists and scalars as such; ``where`` it stands is for messages.

    Raises:
        UserError: for anything else in it, and for more of it than a checkpoint can need.
    """
    return cast("Plain", _copy(value, where, DEEPEST, iter(range(most))))


def _copy(value: object, where: str, depth: int, budget: Iterator[int]) -> object:
    # a pickle can hold one list many times: what is small in the file is not small when it is walked
    if next(budget, None) is None or depth == 0:
        raise UserError(f"{where} holds more values, or deeper ones, than a checkpoint can need.")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        wrong = next((key for key in value if type(key) is not str), None)
        if wrong is not None:
            raise UserError(f"{where} has the key {wrong!r}, which is no text.")
        return {k: _copy(v, f"{where}.{k}", depth - 1, budget) for k, v in value.items()}
    if isinstance(value, list):
        return [_copy(v, f"{where}[{i}]", depth - 1, budget) for i, v in enumerate(value)]
    raise UserError(f"{where} holds a {type(value).__name__}, and only plain values belong there.")


def dense(state: object, prefix: str, where: str) -> dict[str, Tensor]:
    """Return the entries of a state dict below ``prefix``: dense tensors that really are in the file.

    Raises:
        UserError: if it is something else, or a tensor claims more than its storage holds.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"{where}: its state_dict is a {type(state).__name__}.")
    state = {n: t for n, t in state.items() if type(n) is str and n.startswith(prefix)}
    storages: dict[int, int] = {}
    claimed = 0
    for name, tensor in state.items():
        if type(name) is not str or not isinstance(tensor, Tensor):
            raise UserError(
                f"{where} holds {name!r}, a {type(tensor).__name__}: no tensor by name."
            )
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(f"{where}: {name} is no dense tensor.")
        storage = tensor.untyped_storage()
        needed = tensor.numel() * tensor.element_size()
        if needed > storage.nbytes():
            raise UserError(
                f"{where}: {name} of shape {tuple(tensor.shape)} claims {needed:,} bytes, and the "
                f"file holds {storage.nbytes():,} of them."
            )
        storages[storage.data_ptr()] = storage.nbytes()
        claimed += needed
    if claimed > MOST_ALIASES * sum(storages.values()):
        raise UserError(f"{where} names the same few bytes again and again as {claimed:,} bytes.")
    return state
