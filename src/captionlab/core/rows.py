"""Rows of a large matrix, worked on in parts that stay in a CPU's cache between several passes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

# numbers of a part: 2 MB in float32
_PART = 1 << 19


def row_parts(rows: Tensor) -> Iterator[slice]:
    """Yield slices that cover ``rows`` (M,V) in order; elsewhere than on a CPU one slice of all."""
    count, width = rows.shape
    size = max(1, _PART // width) if rows.device.type == "cpu" else max(1, count)
    return (slice(start, start + size) for start in range(0, count, size))
