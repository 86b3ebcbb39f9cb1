"""Parquet and Arrow files as sources of pictures: their columns, their rows, their groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from captionlab.core import parquet_files
from captionlab.core.errors import UserError
from captionlab.core.parquet_files import arrow_errors
from captionlab.data.images.decoded import warn_of_slowness
from captionlab.data.images.shards import Group, Shard
from captionlab.data.readers import arrow_files
from captionlab.data.readers.fields import text
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.tables import SPLIT_NAMES

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

FEW = 8  # pictures that are decoded at once
DENSE = ("GZIP", "BROTLI")  # compressions that leave nothing as it is, not even a JPEG


class ShardFile(ABC):
    """One file of a data set: ``columns`` by name, and which of them hold ``pictures``."""

    def __init__(self, file: Path, split: str | None = None) -> None:
        self.file, self.split = file, split
        schema = self._schema()
        self.columns: tuple[str, ...] = tuple(schema.names)
        self.pictures = [
            name for name in arrow_files.picture_columns(schema) if self._holds_bytes(name)
        ]
        self.has_paths = {name: arrow_files.has_paths(schema, name) for name in self.pictures}

    @abstractmethod
    def _schema(self) -> pyarrow.Schema: ...

    @abstractmethod
    def _holds_bytes(self, column: str) -> bool:
        """Return whether the first row of a column of pictures has bytes, not only a path."""

    @abstractmethod
    def objects(self, columns: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Yield place and row, with paths in place of pictures."""

    @abstractmethod
    def shard(self, column: str, rows: int) -> Shard:
        """Return what reads the pictures of a column."""


class ParquetShard(ShardFile):
    """A file of Parquet."""

    def _schema(self) -> pyarrow.Schema:
        return parquet_files.open_parquet(self.file).schema_arrow

    def _holds_bytes(self, column: str) -> bool:
        opened = parquet_files.open_parquet(self.file)
        with arrow_errors(self.file):
            first = next(opened.iter_batches(batch_size=1, columns=[column]), None)
            return first is not None and _has_bytes(first.column(column))

    def objects(self, columns: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Yield place and row, with paths in place of pictures."""
        return arrow_files.parquet_objects(self.file, columns)

    def shard(self, column: str, rows: int) -> Shard:
        """Return what reads the pictures of a column."""
        self._warn_of_slowness(column)
        return Shard(
            self.file,
            rows,
            partial(_parquet_groups, self.file, column),
            partial(_parquet_group, self.file, column),
        )

    def _warn_of_slowness(self, column: str) -> None:
        # each run says so, also one that remembers where everything lies
        metadata = parquet_files.open_parquet(self.file).metadata
        if metadata.num_row_groups:
            with arrow_errors(self.file):
                group = metadata.row_group(0)
                if _chunk(group, column).compression in DENSE:
                    warn_of_slowness(self.file, group.num_rows)


class ArrowShard(ShardFile):
    """A file of Arrow, as ``save_to_disk`` writes it."""

    def _schema(self) -> pyarrow.Schema:
        return arrow_files.arrow_schema(self.file)

    def _holds_bytes(self, column: str) -> bool:
        for batch, _ in arrow_files.arrow_batches(self.file):
            if batch.num_rows:
                return _has_bytes(batch.column(column).slice(0, 1))
        return False

    def objects(self, columns: Sequence[str]) -> Iterator[tuple[str, object]]:
        """Yield place and row, with paths in place of pictures."""
        return arrow_files.arrow_objects(self.file, columns)

    def shard(self, column: str, rows: int) -> Shard:
        """Return what reads the pictures of a column."""
        return Shard(
            self.file,
            rows,
            partial(_arrow_groups, self.file, column),
            partial(_arrow_group, self.file, column),
        )


def _has_bytes(column: pyarrow.Array) -> bool:
    return arrow_files.picture_bytes(column)[0].as_py() is not None


def _parquet_groups(file: Path, column: str) -> Iterator[Group]:
    opened = parquet_files.open_parquet(file)
    return (_group(opened, file, column, n) for n in range(opened.metadata.num_row_groups))


def _parquet_group(file: Path, column: str, number: int) -> Group:
    return _group(parquet_files.open_parquet(file), file, column, number)


def _group(opened: pyarrow.parquet.ParquetFile, file: Path, column: str, number: int) -> Group:
    """Return a row group's pictures, and where its column lies in the file."""
    with arrow_errors(file):
        chunk = _chunk(opened.metadata.row_group(number), column)
        size = file.stat().st_size
        low = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
        low = min(max(0, low), size)
        high = min(low + max(0, chunk.total_compressed_size), size)
        return Group(low, high, _pictures(opened, file, column, number, chunk.path_in_schema))


def _chunk(
    group: pyarrow.parquet.RowGroupMetaData, column: str
) -> pyarrow.parquet.ColumnChunkMetaData:
    paths = {column, f"{column}.bytes"}
    chunks = (group.column(index) for index in range(group.num_columns))
    return next(one for one in chunks if one.path_in_schema in paths)


def _pictures(
    opened: pyarrow.parquet.ParquetFile, file: Path, column: str, number: int, leaf: str
) -> Iterator[bytes | None]:
    """Yield the pictures of a row group, few of them in memory at once.

    A run of one long value costs a liar no room: they are counted while they are decoded.
    """
    with arrow_errors(file):
        decoded = 0
        # in one thread: another process may have been forked from one with pyarrow's
        for batch in opened.iter_batches(
            batch_size=FEW, row_groups=[number], columns=[leaf], use_threads=False
        ):
            decoded += batch.nbytes
            if decoded > parquet_files.MOST_BYTES:
                raise UserError(
                    f"{file}: the pictures of its row group {number} have more than "
                    f"{parquet_files.MOST_BYTES:,} bytes: write it again with smaller row groups"
                )
            yield from arrow_files.picture_bytes(batch.column(column)).to_pylist()


def _arrow_groups(file: Path, column: str) -> Iterator[Group]:
    size = file.stat().st_size
    for batch, base in arrow_files.arrow_batches(file):
        with arrow_errors(file):
            pictures = arrow_files.picture_bytes(batch.column(column))
            buffer = pictures.buffers()[-1]
            start = 0 if buffer is None else buffer.address - base
            if 0 < start < size:
                yield Group(start, min(start + buffer.size, size), pictures.to_pylist())
            else:  # a compressed buffer, decoded elsewhere
                yield Group(0, size, pictures.to_pylist())


def _arrow_group(file: Path, column: str, number: int) -> Group:
    return next(group for index, group in enumerate(_arrow_groups(file, column)) if index == number)


def saved_files(root: Path, layout: str) -> list[ShardFile]:
    """Return the Arrow files of a folder that ``save_to_disk`` wrote.

    Raises:
        UserError: if it is none, or names a file outside its folder.
    """
    if (root / "dataset_dict.json").is_file():
        names = _plain_names(root / "dataset_dict.json", "splits")
        return [
            ArrowShard(file, SPLIT_NAMES.get(name.lower(), name.lower()))
            for name in names
            for file in _arrow_files(root / name, layout)
        ]
    return [ArrowShard(file) for file in _arrow_files(root, layout)]


def _arrow_files(folder: Path, layout: str) -> list[Path]:
    state = folder / "state.json"
    if not state.is_file():
        raise UserError(f"{folder} has no state.json of `datasets`; expected layout: {layout}")
    return [folder / name for name in _plain_names(state, "_data_files", "filename")]


def _plain_names(file: Path, key: str, below: str = "") -> list[str]:
    """Return the list of names at a key of a JSON file, each of something beside that file."""
    data = read_json(file)
    values = data.get(key) if isinstance(data, dict) else None
    if not isinstance(values, list) or not values:
        raise UserError(f"{file} has no list {key!r}")
    names = []
    for index, value in enumerate(values):
        where = f"{file}: {key}[{index}]"
        name = text(value.get(below) if below and isinstance(value, dict) else value, where, below)
        if PurePosixPath(name).name != name or name == ".." or not (file.parent / name).exists():
            raise UserError(f"{where}: {name[:80]!r} is nothing beside it")
        names.append(name)
    return names
