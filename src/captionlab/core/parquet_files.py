"""Parquet files opened with pyarrow, whose refusals become one sentence.

pyarrow checks what it reads. A row group is decoded as a whole, so one that says it is larger than
MOST_BYTES is refused before it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captionlab.core.errors import UserError, first_line

if TYPE_CHECKING:
    import pyarrow.parquet

MOST_BYTES = 2 * 2**30  # of a row group's column, decoded


@contextmanager
def arrow_errors(file: Path) -> Iterator[None]:
    """Turn pyarrow's errors into one sentence; so too where pyarrow is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise UserError(
            f"{file} is read with the package pyarrow: pip install 'captionlab[datasets]'"
        ) from None
    try:
        yield
    # ArrowInvalid and its kin are ValueErrors, KeyErrors and OSErrors; MemoryError: sizes that lie
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise UserError(f"{file} cannot be read: {first_line(error)[:300]}") from None


def open_parquet(file: Path) -> pyarrow.parquet.ParquetFile:
    """Return a Parquet file opened; UserError where it is none, or its row groups are too large."""
    with arrow_errors(file):
        import pyarrow.parquet

        opened = pyarrow.parquet.ParquetFile(file, memory_map=True)
        metadata = opened.metadata
        require_rows(file, metadata.num_rows)
        for group in range(metadata.num_row_groups):
            size = metadata.row_group(group).total_byte_size
            if not 0 <= size <= MOST_BYTES:
                raise UserError(
                    f"{file}: its row group {group} has {size:,} bytes, more than can be decoded at "
                    "once: write it again with smaller ones"
                )
        return opened


def require_rows(file: Path, rows: int) -> None:
    """Refuse more rows than a file has bytes: runs of nothing cost a liar no room, and us all of it."""
    size = file.stat().st_size
    if not 0 <= rows <= size:
        raise UserError(f"{file} says that it has {rows:,} rows, in {size:,} bytes: it is damaged")
