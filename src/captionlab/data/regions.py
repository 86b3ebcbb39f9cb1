"""Bottom-up regions in the forms in which they are published.

Legend: N regions of an image, D their width. Boxes become (left, top, right, bottom) as shares of
the image's width and height where the file tells its size, and of the largest corner otherwise.
"""

from __future__ import annotations

import base64
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captionlab.data.features import Features, FeatureStore
from captionlab.errors import UserError, did_you_mean
from captionlab.memory import Memory

TSV = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
NAMES = ("feat", "features", "x", "att")


def open_features(path: str | Path) -> Features:
    """Return what lies at ``path``: a feature store, or regions in npz files, a tsv or an h5 file.

    Raises:
        UserError: if it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        if any(path.glob("*.npz")):
            return NpzRegions(path)
        return FeatureStore(path)
    if not path.is_file():
        near = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"data.features={path} does not exist; {did_you_mean(str(path), near)}")
    if path.suffix == ".tsv":
        return TsvRegions(path)
    if path.suffix in (".h5", ".hdf5"):
        return H5Regions(path)
    raise UserError(
        f"data.features={path} is no store of captionlab extract, folder of npz files, .tsv or .h5"
    )


class NpzRegions:
    """A folder of ``ID.npz`` with ``feat`` (N, D), and ``bbox`` (N, 4), image_w, image_h if known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __contains__(self, image_id: int | str) -> bool:
        return (self.path / f"{image_id}.npz").is_file()

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4) | None."""
        file = self.path / f"{image_id}.npz"
        with np.load(file) as stored:
            name = next((name for name in NAMES if name in stored), None)
            if name is None:
                raise UserError(f"{file} holds {', '.join(stored)}, none of {', '.join(NAMES)}")
            size = [float(stored[key]) for key in ("image_w", "image_h") if key in stored]
            boxes = stored.get("bbox")
            return _memory(stored[name], boxes, size, str(file))


class TsvRegions:
    """The tab-separated file of Anderson et al. 2018: base64 of float32 boxes and features.

    Lines are found by their place in the file and decoded when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        with path.open("rb") as file:
            place = file.tell()
            for line in iter(file.readline, b""):
                self._places[line.split(b"\t", 1)[0].decode()] = place
                place = file.tell()

    def __contains__(self, image_id: int | str) -> bool:
        return str(image_id) in self._places

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4)."""
        csv.field_size_limit(sys.maxsize)
        with self.path.open("rb") as file:
            file.seek(self._places[str(image_id)])
            line = file.readline().decode()
        row = dict(zip(TSV, next(csv.reader([line], delimiter="\t")), strict=False))
        where = f"{self.path}, image {image_id}"
        try:
            count = int(row["num_boxes"])
            boxes, slots = (
                np.frombuffer(base64.b64decode(row[name]), np.float32).reshape(count, -1)
                for name in ("boxes", "features")
            )
            size = [float(row["image_w"]), float(row["image_h"])]
        except (KeyError, ValueError) as error:
            raise UserError(f"{where}: the line is not {' '.join(TSV)} ({error})") from error
        return _memory(slots, boxes, size, where)


class H5Regions:
    """An h5 file with ``ID_features`` (N, D) and, if known, ``ID_boxes`` (N, 4), as M2's."""

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise UserError(
                f"data.features={path} needs h5py: pip install 'captionlab[regions]'"
            ) from error
        self.path = path
        self._library: Any = h5py
        self._file: Any = None  # opened in each process by itself: h5py's handles cannot be shared

    def _opened(self) -> Any:
        if self._file is None:
            self._file = self._library.File(self.path, "r")
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __contains__(self, image_id: int | str) -> bool:
        return f"{image_id}_features" in self._opened()

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4) | None."""
        file = self._opened()
        boxes = f"{image_id}_boxes"
        return _memory(
            file[f"{image_id}_features"][()],
            file[boxes][()] if boxes in file else None,
            [],
            f"{self.path}, image {image_id}",
        )


def _memory(slots: Any, boxes: Any, size: list[float], where: str) -> Memory:
    slots = torch.from_numpy(np.array(slots))
    cells = None
    if slots.ndim == 3:  # a grid (h, w, D) is a list of regions too
        cells = _cells(*slots.shape[:2])
        slots = slots.flatten(0, 1)
    if slots.ndim != 2 or not len(slots):
        raise UserError(f"{where}: the regions have shape {tuple(slots.shape)}, not (N, D)")
    corners = cells
    if boxes is not None:
        corners = torch.from_numpy(np.array(boxes, np.float32)[:, :4])
        largest = corners.view(-1, 2).amax(0).clamp_min(1.0)
        scale = torch.tensor(size) if len(size) == 2 else largest
        corners = (corners.view(-1, 2, 2) / scale).flatten(1).clamp(0, 1)
    mask = torch.ones(len(slots), dtype=torch.bool)
    return Memory(slots, slots.float().mean(0).to(slots.dtype), mask, corners)


def _cells(height: int, width: int) -> torch.Tensor:
    """Return the boxes (height * width, 4) of a grid over the whole image, row by row."""
    top, left = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corners = torch.stack([left, top, left + 1, top + 1], -1).flatten(0, 1)
    return corners / torch.tensor([width, height, width, height])
