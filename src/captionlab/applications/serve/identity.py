"""Which captioner a server has: a fingerprint of its files, the calibration that belongs to it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.core.files import file_sha256
from captionlab.inference.calibrated import belongs_to, calibration_path, read_calibration
from captionlab.inference.export.folder import MANIFEST
from captionlab.metrics.calibration import Calibration

log = logging.getLogger(__name__)

DIGITS = 12


def fingerprint(paths: Sequence[str]) -> str:
    """Return the first digits of a hash of checkpoints or exported folders, which tells versions.

    Nothing for what is no file of this machine.
    """
    # the list of an exported folder holds the hashes of its other files
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
    if len(paths) > 1:
        return None
    try:
        calibration = read_calibration(paths[0])
    except UserError as error:
        log.warning("%s; captions are served without their chance of being right", error)
        return None
    if calibration is not None and not belongs_to(calibration, paths[0]):
        log.warning(
            "%s is of another checkpoint; write it again with captionlab calibrate",
            calibration_path(paths[0]),
        )
        return None
    return calibration
