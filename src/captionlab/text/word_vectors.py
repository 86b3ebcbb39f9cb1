"""Word vectors of others to begin with: GloVe, word2vec, BERT's embedding table.

Only the vectors of asked words are kept, so that a file of gigabytes needs little memory.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens
from captionlab.core.tensor_files import dense, load_tensors
from captionlab.text.packaged_vectors import PACKAGES, packaged_vectors

# the end of the name under which BERT and its kin store their table
_BERT_TABLE = "word_embeddings.weight"
WIDEST = 1 << 14  # components of a vector; published ones have 1024 at most
LONGEST_LINE = 1 << 20
Entry = tuple[str, object]  # a word and what numpy makes a vector of, if it is asked for


@dataclass(frozen=True)
class WordVectors:
    """The vectors of a vocabulary: ``vectors`` (n, width) float32 of the token ids ``ids`` (n,)."""

    vectors: np.ndarray
    ids: np.ndarray

    @property
    def width(self) -> int:
        """The number of components of a vector."""
        return int(self.vectors.shape[1])


def read_word_vectors(path: str | os.PathLike[str], words: Sequence[str]) -> WordVectors:
    """Return the vectors that a file, or a Hugging Face folder, has of ``words`` (by token id).

    A file is in GloVe's text form, or word2vec's text or binary form, gzipped or not; a name of
    ``packaged_vectors.PACKAGES`` stands for what an installed package holds. A word that is not
    there as it is written gets the vector of its first spelling with capitals.

    Raises:
        UserError: if there is no such file or folder, it is in no known form, or has none of the
            words.
    """
    entries = _entries(path)
    vocabulary = {word for word in words if word}
    exact: dict[str, np.ndarray] = {}
    otherwise: dict[str, np.ndarray] = {}
    try:
        for word, vector in entries:
            if word in vocabulary:
                exact.setdefault(word, np.asarray(vector, dtype=np.float32))
            elif word.lower() in vocabulary:
                otherwise.setdefault(word.lower(), np.asarray(vector, dtype=np.float32))
    except (ValueError, EOFError, OSError, MemoryError, zlib.error) as error:
        raise UserError(
            f"model.decoder.embeddings={path} is neither a file of GloVe or word2vec nor a folder "
            f"of a BERT ({error})."
        ) from error
    vectors: Mapping[str, np.ndarray] = {**otherwise, **exact}
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise UserError(f"model.decoder.embeddings={path} holds vectors that are not finite.")
    ids = [token_id for token_id, word in enumerate(words) if word in vectors]
    if not ids:
        raise UserError(
            f"model.decoder.embeddings={path} has none of the vocabulary's {len(words):,} entries: "
            "give vectors of the captions' language."
        )
    return WordVectors(np.stack([vectors[words[i]] for i in ids]), np.array(ids))


def fill(table: Tensor, path: str | os.PathLike[str], words: Sequence[str]) -> str:
    """Copy word vectors into an embedding's ``table`` (V, E); return a sentence on their coverage.

    A word without a vector keeps its random one, at the scale of the vectors' standard deviation;
    the padding's zeros stay zeros.

    Raises:
        UserError: if the file cannot be read or its vectors have another width than the table.
    """
    read = read_word_vectors(path, words)
    if read.width != table.shape[1]:
        raise UserError(
            f"model.decoder.embeddings={path} holds vectors {read.width} wide, but those of this "
            f"decoder are {table.shape[1]} wide: set model.decoder.word_dim={read.width}, and a linear "
            "layer brings them to its width."
        )
    vectors = torch.from_numpy(read.vectors).to(table)
    with torch.no_grad():
        # the spread of a random table is read off its rows that are not all zeros
        random = table[table.any(dim=1)].std()
        table.mul_(vectors.std() / random)
        table[torch.from_numpy(read.ids).to(table.device)] = vectors
    texts = {word for word in words[SpecialTokens.COUNT :] if word}
    return (
        f"{path} has vectors for {len({words[i] for i in read.ids}):,} of the vocabulary's "
        f"{len(texts):,} words; the others begin at random"
    )


def _entries(name: str | os.PathLike[str]) -> Iterator[Entry]:
    if name in PACKAGES:
        return packaged_vectors(str(name))
    path = Path(name).expanduser()
    if not path.exists():
        hint = get_close_matches(path.name, PACKAGES, n=1)
        near = f" (did you mean {hint[0]}?)" if hint else ""
        raise UserError(f"model.decoder.embeddings={path}: there is no such file or folder{near}.")
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> Iterator[Entry]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        file = cast(BinaryIO, opened)
        first = file.readline(1 << 16)
        header = first.split()
        if len(header) != 2:  # GloVe has no header
            width = _width_of(first)
            yield _parse_line(first, width)
            yield from _lines(file, width)
            return
        count, width = int(header[0]), int(header[1])
        if not 0 < width <= WIDEST:
            raise ValueError(f"its first line promises vectors of width {width}")
        begin = file.tell()
        binary = not _is_line(file.readline(1 << 16), width)
        file.seek(begin)
        yield from _binary(file, count, width) if binary else _lines(file, width)


def _width_of(line: bytes) -> int:
    """Return how many numbers stand at the end of a line, behind its first part."""
    width = 0
    for part in reversed(line.split()[1:]):
        try:
            float(part)
        except ValueError:
            break
        width += 1
    if not width:
        raise ValueError("its first line is no word and its vector")
    return width


def _is_line(line: bytes, width: int) -> bool:
    try:
        np.asarray(_parse_line(line, width)[1], dtype=np.float32)
    except ValueError:
        return False
    return True


def _parse_line(line: bytes, width: int) -> Entry:
    # from the right: some of GloVe's words hold spaces
    parts = line.rstrip().rsplit(b" ", width)
    if len(parts) != width + 1:
        raise ValueError(f"a line has not {width} numbers: {line[:40]!r}")
    return parts[0].decode("utf-8", "replace"), parts[1:]


def _lines(file: BinaryIO, width: int) -> Iterator[Entry]:
    # a packed file may hold one line of gigabytes
    for line in iter(lambda: file.readline(LONGEST_LINE), b""):
        if len(line) == LONGEST_LINE:
            raise ValueError("a line has no end")
        if line.strip():
            yield _parse_line(line, width)


def _binary(file: BinaryIO, count: int, width: int) -> Iterator[Entry]:
    for _ in range(count):
        word = bytearray()
        while (character := file.read(1)) != b" ":
            if not character or len(word) > 1 << 12:
                raise ValueError("a word has no end")
            word += character
        stored = file.read(4 * width)
        if len(stored) < 4 * width:
            raise ValueError("it is cut off")
        # word2vec ends an entry with a line break, some of its imitators do not
        yield word.decode("utf-8", "replace").lstrip("\n"), np.frombuffer(stored, dtype="<f4")


def _of_folder(path: Path) -> Iterator[Entry]:
    pieces = path / "vocab.txt"
    if not pieces.is_file():
        raise UserError(f"model.decoder.embeddings={path}: a BERT's folder has a vocab.txt.")
    table = _bert_table(path)
    words = pieces.read_text(encoding="utf-8").splitlines()
    if len(words) > len(table):
        raise UserError(
            f"model.decoder.embeddings={path}: vocab.txt has {len(words):,} lines, but the table "
            f"has {len(table):,} rows; both must be of one model."
        )
    yield from zip(words, table, strict=False)


def _bert_table(path: Path) -> np.ndarray:
    """Return the embedding table (words, width) of a Hugging Face folder, float32."""
    names = ("model.safetensors", "pytorch_model.bin")
    file = next((path / name for name in names if (path / name).is_file()), None)
    where = f"model.decoder.embeddings={path}"
    if file is None:
        raise UserError(f"{where}: a BERT's folder has a {' or a '.join(names)}.")
    content = load_tensors(file, where)
    weights = {} if not isinstance(content, Mapping) else content
    weights = {name: one for name, one in weights.items() if str(name).endswith(_BERT_TABLE)}
    tables = list(dense(weights, "", where).values())[:1]
    if not tables:
        raise UserError(f"{where} has no table {_BERT_TABLE}.")
    if tables[0].ndim != 2 or not tables[0].is_floating_point():
        raise UserError(f"{where}: {_BERT_TABLE} is no table of numbers (words, width).")
    return np.asarray(tables[0].float().numpy())
