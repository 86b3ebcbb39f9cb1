"""Which captioner a server has: a fingerprint of its files, the calibration that belongs to it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.inference.export.manifest import require_inside
from captionlab.metrics.calibration import NAME, Calibration

log = logging.getLogger(__name__)

MANIFEST = "captionlab.json"  # of an exported folder; it holds the hashes of the other files
DIGITS = 12


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Sequence[str]) -> str:
    """Return the first digits of a hash of checkpoints or exported folders, which tells versions.

    Nothing for what is no file of this machine.
    """
    files = [Path(path, MANIFEST) if Path(path).is_dir() else Path(path) for path in paths]
    digests = [file_sha256(file) for file in files if file.is_file()]  # none of an address
    if not digests:
        return ""
    whole = (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
    return whole[:DIGITS]


def calibration_of(paths: Sequence[str]) -> Calibration | None:
    """Return the calibration beside a checkpoint, or in an exported folder; None where it has none.

    One that belongs to another checkpoint is not used, and neither is any for several captioners.
    """
    path = Path(paths[0])
    file = path / NAME if path.is_dir() else path.parent / NAME
    if len(paths) > 1 or not file.is_file():
        return None
    try:
        if path.is_dir():
            require_inside(file, path)
        calibration = Calibration.read(file)
    except UserError as error:
        log.warning("%s; captions are served without their chance of being right", error)
        return None
    if path.is_file() and calibration.checkpoint_sha256 != file_sha256(path):
        log.warning("%s is of another checkpoint; write it again with captionlab calibrate", file)
        return None
    return calibration
