"""Files of Apache Arrow, read with pyarrow: Parquet tables, and what `datasets` saves.

What pyarrow refuses becomes one sentence (``captionlab.core.parquet_files``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionlab.core.errors import UserError
from captionlab.core.parquet_files import arrow_errors, open_parquet, require_rows

if TYPE_CHECKING:
    import pyarrow

BATCH = 256  # rows that are turned into Python's objects at once
MOST_BATCH_BYTES = 2**28  # of so many rows without pictures


def column_leaves(schema: pyarrow.Schema, names: Iterable[str]) -> list[str]:
    """Return what pyarrow is to read for columns: of structs with the bytes of pictures the rest."""
    import pyarrow

    leaves = []
    for name in names:
        kind = schema.field(name).type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            fields = [kind.field(i).name for i in range(kind.num_fields)]
            leaves += [f"{name}.{field}" for field in fields if field != "bytes"]
        else:
            leaves.append(name)
    return leaves


def parquet_objects(
    file: Path, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, object]]:
    """Yield place and row of a Parquet file, as a mapping; UserError where it cannot be read.

    Args:
        columns: those to read; null: all but the bytes of pictures.
    """
    opened = open_parquet(file)
    with arrow_errors(file):
        names = opened.schema_arrow.names if columns is None else columns
        leaves = column_leaves(opened.schema_arrow, names)
        number = 0
        for batch in opened.iter_batches(batch_size=BATCH, columns=leaves, use_threads=False):
            _require_texts(file, batch)
            for row in batch.to_pylist():
                yield f": row {number}", row
                number += 1


def _require_texts(file: Path, batch: pyarrow.RecordBatch) -> None:
    if batch.nbytes > MOST_BATCH_BYTES:
        raise UserError(
            f"{file}: {batch.num_rows} rows hold {batch.nbytes:,} bytes beside their pictures, which "
            "are no captions: set data.source.caption_column"
        )


def picture_columns(schema: pyarrow.Schema) -> list[str]:
    """Return the columns that hold pictures: structs with ``bytes``, or bare bytes."""
    import pyarrow

    kinds = pyarrow.types
    return [
        field.name
        for field in schema
        if (kinds.is_struct(field.type) and _is_bytes(_member(field.type, "bytes")))
        or _is_bytes(field.type)
    ]


def has_paths(schema: pyarrow.Schema, column: str) -> bool:
    """Return whether a column of pictures has their file names beside the bytes."""
    import pyarrow

    kind = schema.field(column).type
    return bool(pyarrow.types.is_struct(kind)) and _member(kind, "path") is not None


def picture_bytes(column: pyarrow.Array) -> pyarrow.Array:
    """Return the array of encoded pictures of a column that holds them."""
    import pyarrow

    return column.field("bytes") if pyarrow.types.is_struct(column.type) else column


def _member(kind: Any, name: str) -> Any:
    index = kind.get_field_index(name)
    return kind.field(index).type if index >= 0 else None


def _is_bytes(kind: Any) -> bool:
    import pyarrow

    kinds = pyarrow.types
    return kind is not None and bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def arrow_batches(file: Path) -> Iterator[tuple[pyarrow.RecordBatch, int]]:
    """Yield the record batches of an Arrow file of `datasets`, and where the file lies in memory."""
    with arrow_errors(file):
        import pyarrow

        with pyarrow.memory_map(str(file)) as source:
            base = source.read_buffer(1).address
            source.seek(0)
            for batch in pyarrow.ipc.open_stream(source):
                require_rows(file, batch.num_rows)
                yield batch, base


def arrow_schema(file: Path) -> pyarrow.Schema:
    """Return the schema of an Arrow file; UserError where it is none."""
    with arrow_errors(file):
        import pyarrow

        with pyarrow.memory_map(str(file)) as source:
            return pyarrow.ipc.open_stream(source).schema


def arrow_objects(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield place and row of an Arrow file, of pictures only their paths."""
    number = 0
    for batch, _ in arrow_batches(file):
        names = [name for name in columns if name in batch.schema.names]
        values = {name: _without_bytes(batch.column(name)) for name in names}
        for index in range(batch.num_rows):
            yield f": row {number}", {name: column[index] for name, column in values.items()}
            number += 1


def _without_bytes(column: pyarrow.Array) -> list[object]:
    import pyarrow

    if pyarrow.types.is_struct(column.type) and _member(column.type, "bytes") is not None:
        if _member(column.type, "path") is None:
            return [None] * len(column)
        return [{"path": path} for path in column.field("path").to_pylist()]
    return [None] * len(column) if _is_bytes(column.type) else column.to_pylist()
