"""numpy's files of other people: no pickles, and no more memory than a file can need.

A header may promise any shape, and a compressed archive unpacks to a thousand times its size; so both
are compared with what is really there before anything is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from captionlab.core.errors import UserError, first_line

MOST_BYTES = 2**30  # of one array of an archive
KINDS = "biufU"  # booleans, integers, floats and text: no objects, no records


def map_array(path: Path, where: str) -> np.ndarray:
    """Return the array of a ``.npy`` file, read in place.

    Raises:
        UserError: beginning with ``where``, if it is missing, damaged, or holds objects.
    """
    try:
        with path.open("rb") as file:
            _require_whole(file, path.stat().st_size)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # numpy's reader raises what the bytes lead it to
    except Exception as error:
        raise _damaged(path, where, error) from None
    return array


class ArrayArchive(Mapping[str, np.ndarray]):
    """The arrays of an ``.npz`` file by name, each read when it is asked for.

    Raises:
        UserError: beginning with ``where``, if the file, or an array that is asked for, is missing,
            damaged, holds objects or would need more than 1 GiB.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = path, where
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        except Exception as error:
            raise _damaged(path, where, error) from None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(member) as file:
                _require_whole(file, member.file_size)
                if member.file_size > MOST_BYTES:
                    raise ValueError(f"{name} would need {member.file_size:,} bytes")
                file.seek(0)
                return npy.read_array(file, allow_pickle=False)
        except Exception as error:
            raise _damaged(self._path, self._where, error) from None


def _require_whole(file: IO[bytes], size: int) -> None:
    """Raise ValueError unless the header of an array agrees with its ``size`` in bytes."""
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format holds no plain arrays")
    if dtype.kind not in KINDS:
        raise ValueError(f"it holds {dtype}, not numbers")
    needed = math.prod(shape) * dtype.itemsize
    there = size - file.tell()
    if min(shape, default=1) < 0 or needed != there:
        raise ValueError(f"shape {shape} needs {needed:,} bytes, and there are {there:,}")


def _damaged(path: Path, where: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{where} has no {path.name}")
    return UserError(f"{where} cannot be read, {path.name} is damaged: {first_line(error)[:200]}")
