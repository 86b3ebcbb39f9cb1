"""A model's proposals for the next pictures, computed in the background and kept in the store."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from captionlab.applications.label.store import LONGEST_CAPTION, LabelStore, Proposal
from captionlab.core.errors import UserError, first_line
from captionlab.data.images.files import BrokenImage

logger = logging.getLogger(__name__)

BATCH = 8
AHEAD = 64  # open pictures that are looked at before anybody asks


class Captions(Protocol):
    """What proposes: ``LoadedCaptioner``."""

    def prepare(self, image: Any, /) -> Tensor:
        """Return a picture as the model wants it."""

    def captions(self, images: Tensor, /) -> list[list[tuple[str, float]]]:
        """Return captions and scores of each picture, best first."""


class Proposer(threading.Thread):
    """Looks at the first open pictures that its model has not seen, and at those that are asked for.

    ``model``: the name under which proposals are kept. ``failure``: why it stopped, if it did.
    """

    def __init__(self, store: LabelStore, folder: Path, captioner: Captions, model: str) -> None:
        super().__init__(name="proposals", daemon=True)
        self.model = model
        self.failure: str | None = None
        self._store = store
        self._folder = folder
        self._captioner = captioner
        self._asked: list[int] = []
        self._wake = threading.Event()
        self._stopping = False

    def ask(self, picture: int | None = None) -> None:
        """Look again at what is open; at this picture first."""
        if picture is not None:
            self._asked.append(picture)
        self._wake.set()

    def stop(self) -> None:
        """Stop after the batch at hand."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Work until ``stop``; an error of the model ends it, and labeling goes on without."""
        while not self._stopping:
            self._wake.clear()
            try:
                numbers = self._next()
                if not numbers:
                    self._wake.wait()
                    continue
                self._store.keep_proposals(self.model, self._propose(numbers))
            except Exception as error:
                self.failure = first_line(error)
                logger.exception("no more proposals")
                return

    def _next(self) -> list[int]:
        asked, self._asked = self._asked[-BATCH:], []
        first = [n for n in reversed(asked) if self.model not in self._store.proposals(n)]
        ahead = self._store.without_proposals(self.model, AHEAD)
        return list(dict.fromkeys([*first, *ahead]))[:BATCH]

    def _propose(self, numbers: Sequence[int]) -> dict[int, list[Proposal]]:
        found: dict[int, list[Proposal]] = {number: [] for number in numbers}
        prepared: dict[int, Tensor] = {}
        for number in numbers:
            try:
                prepared[number] = self._captioner.prepare(
                    self._folder / self._store.present[number]
                )
            except BrokenImage as error:
                logger.warning("%s", error)
        if prepared:
            captions = self._captioner.captions(torch.stack(list(prepared.values())))
            for number, of_picture in zip(prepared, captions, strict=True):
                found[number] = [
                    Proposal(" ".join(text.split())[:LONGEST_CAPTION], round(score, 4))
                    for text, score in of_picture
                    if text.strip()
                ]
        return found


def model_name(path: Path, overrides: Sequence[str]) -> str:
    """Return a name under which the proposals of a checkpoint, or exported folder, are kept.

    It holds the digest of what it is and how it decodes, so that another one is asked anew.

    Raises:
        UserError: if there is no such file.
    """
    file = path / "captionlab.json" if path.is_dir() else path
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    for override in overrides:
        digest.update(b"\0" + override.encode("utf-8", "replace"))
    return f"{path.stem[:60]}-{digest.hexdigest()[:12]}"
