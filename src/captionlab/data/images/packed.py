"""Pictures that lie inside a larger file, such as a shard of Parquet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class PackedImage(ABC):
    """One picture inside ``file``; as text it is the file and its place there.

    ``name``: what the data set calls it. Equal texts are the same picture.
    """

    file: Path
    name: str

    @abstractmethod
    def read(self) -> bytes:
        """Return the encoded picture (JPEG, PNG ...); UserError where the file is not as it was."""
