"""Bottom-up regions in the forms in which they are published.

Legend: N regions of an image, D their width. Boxes become (left, top, right, bottom) as shares of
the image's width and height where the file tells its size, and of the largest corner otherwise.
"""

from __future__ import annotations

import base64
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from captionlab.core.array_files import KINDS, MOST_BYTES, ArrayArchive
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.data.features.store import Features, FeatureStore

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
        near += ["auto", "null"]
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
        name = Path(str(image_id))
        # /x and ../x are no files of this folder
        inside = not name.is_absolute() and ".." not in name.parts and "\0" not in str(name)
        return inside and self._file(image_id).is_file()

    def _file(self, image_id: int | str) -> Path:
        return self.path / f"{image_id}.npz"

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4) | None."""
        file = self._file(image_id)
        stored = ArrayArchive(file, f"data.features={self.path}")
        name = next((name for name in NAMES if name in stored), None)
        if name is None:
            raise UserError(f"{file} holds {', '.join(stored)[:200]}, none of {', '.join(NAMES)}")
        size = [stored[key] for key in ("image_w", "image_h") if key in stored]
        return _memory(stored[name], stored.get("bbox"), size, str(file))


class TsvRegions:
    """The tab-separated file of Anderson et al. 2018: base64 of float32 boxes and features.

    Lines are found by their place in the file and decoded when they are asked for.

    Raises:
        UserError: for a line without the six fields.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        with path.open("rb") as file:
            place = file.tell()
            for number, line in enumerate(iter(file.readline, b""), start=1):
                if line.strip():
                    if line.count(b"\t") < len(TSV) - 1:
                        raise UserError(f"{path}:{number}: the line is not {' '.join(TSV)}")
                    self._places[line.split(b"\t", 1)[0].decode("utf-8", "replace")] = place
                place = file.tell()

    def __contains__(self, image_id: int | str) -> bool:
        return str(image_id) in self._places

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4)."""
        with self.path.open("rb") as file:
            file.seek(self._places[str(image_id)])
            line = file.readline()
        row = dict(zip(TSV, line.rstrip(b"\r\n").split(b"\t"), strict=False))
        where = f"{self.path}, image {image_id}"
        try:
            count = int(row["num_boxes"])
            boxes, slots = (
                np.frombuffer(base64.b64decode(row[name], validate=True), np.float32).reshape(
                    count, -1
                )
                for name in ("boxes", "features")
            )
            size = [np.array(float(row["image_w"])), np.array(float(row["image_h"]))]
        except (KeyError, ValueError) as error:
            raise UserError(f"{where}: the line is not {' '.join(TSV)} ({error})") from error
        return _memory(slots, boxes, size, where)


class H5Regions:
    """An h5 file with ``ID_features`` (N, D) and, if known, ``ID_boxes`` (N, 4), as M2's.

    Raises:
        UserError: if h5py is not installed, or the file is none of its.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise UserError(
                f"data.features={path} needs h5py: pip install 'captionlab[regions]'"
            ) from error
        self.path = path
        self._library: ModuleType = h5py
        self._file: Any = None  # opened in each process by itself: h5py's handles cannot be shared
        self._opened()

    def _opened(self) -> Any:
        if self._file is None:
            try:
                self._file = self._library.File(self.path, "r")
            # h5py raises what the bytes lead it to
            except Exception as error:
                raise UserError(f"data.features={self.path} is no h5 file: {error}") from None
        return self._file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}

    def __contains__(self, image_id: int | str) -> bool:
        return self._has(f"{image_id}_features")

    def _has(self, name: str) -> bool:
        try:
            return name in self._opened()
        except (RuntimeError, ValueError, OSError, KeyError) as error:  # h5py's, of damaged tables
            raise UserError(f"data.features={self.path} is damaged: {error}") from None

    def read(self, image_id: int | str) -> Memory:
        """Return one image's regions: slots (N, D), their mean, mask (N,), boxes (N, 4) | None."""
        boxes = f"{image_id}_boxes"
        return _memory(
            self._array(f"{image_id}_features"),
            self._array(boxes) if self._has(boxes) else None,
            [],
            f"{self.path}, image {image_id}",
        )

    def _array(self, name: str) -> np.ndarray:
        where = f"{self.path}: {name}"
        try:
            # links and data sets may point to other files: these would be read as this image's
            link = self._opened().get(name, getlink=True)
            stored: Any = self._opened()[name] if type(link) is self._library.HardLink else None
            plain = isinstance(stored, self._library.Dataset) and not (
                stored.external or stored.is_virtual
            )
            if not plain or stored.dtype.kind not in KINDS or stored.nbytes > MOST_BYTES:
                raise UserError(f"{where} is no array of numbers in this file")
            return np.asarray(stored[()])
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{where} is damaged: {error}") from None


def _memory(
    slots: np.ndarray, boxes: np.ndarray | None, size: list[np.ndarray], where: str
) -> Memory:
    slots, cells = np.array(slots), None
    if slots.ndim == 3:  # a grid (h, w, D) is a list of regions too
        cells = _cells(*slots.shape[:2])
        slots = slots.reshape(-1, slots.shape[-1])
    if slots.ndim != 2 or not slots.size or slots.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: the regions are {slots.dtype} of shape {slots.shape}, not numbers (N, D)"
        )
    slots = slots.astype(np.float16 if slots.dtype == np.float16 else np.float32)
    if not np.isfinite(slots).all():
        raise UserError(f"{where}: the regions hold numbers that are not finite")
    regions = torch.from_numpy(slots)
    mask = torch.ones(len(regions), dtype=torch.bool)
    pooled = regions.float().mean(0).to(regions.dtype)
    corners = cells if boxes is None else _corners(np.array(boxes), size, len(regions), where)
    return Memory(regions, pooled, mask, corners)


def _corners(boxes: np.ndarray, size: list[np.ndarray], regions: int, where: str) -> torch.Tensor:
    """Return boxes (N, 4) as shares of the image's width and height."""
    known = (
        boxes.ndim == 2
        and len(boxes) == regions
        and boxes.shape[1] >= 4
        and boxes.dtype.kind in "fiu"
        and np.isfinite(boxes).all()
    )
    if not known:
        raise UserError(f"{where}: the boxes have shape {boxes.shape}, not ({regions}, 4) numbers")
    corners = torch.from_numpy(boxes[:, :4].astype(np.float32))
    scale = corners.view(-1, 2).amax(0).clamp_min(1.0)
    if len(size) == 2:
        if any(one.size != 1 or one.dtype.kind not in "fiu" or not one.item() > 0 for one in size):
            raise UserError(f"{where}: width and height of the image are no numbers above 0")
        scale = torch.tensor([float(one.item()) for one in size])
    return (corners.view(-1, 2, 2) / scale).flatten(1).clamp(0, 1)


def _cells(height: int, width: int) -> torch.Tensor:
    """Return the boxes (height * width, 4) of a grid over the whole image, row by row."""
    top, left = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corners = torch.stack([left, top, left + 1, top + 1], -1).flatten(0, 1)
    return corners / torch.tensor([width, height, width, height])
