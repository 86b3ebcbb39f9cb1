"""The calibration that lies beside a checkpoint, and whether it is that of the checkpoint."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.inference.export.manifest import require_inside
from captionlab.metrics.calibration import NAME, Calibration


def calibration_path(model: str | os.PathLike[str]) -> Path:
    """Return where the calibration of a checkpoint, or of an exported folder, lies or would lie."""
    path = Path(model)
    return path / NAME if path.is_dir() else path.with_name(NAME)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def calibration_of(model: str | os.PathLike[str]) -> Calibration | None:
    """Return the calibration of a checkpoint, or of an exported folder; None where there is none.

    A folder's is whatever lies in it: an export copies it there.

    Raises:
        UserError: if what lies there is damaged, or belongs to another checkpoint.
    """
    path = calibration_path(model)
    if not path.exists():
        return None
    if Path(model).is_dir():  # a stranger's, like all that lies in it
        require_inside(path, Path(model))
    calibration = Calibration.read(path)
    if Path(model).is_file() and calibration.checkpoint_sha256 != file_sha256(model):
        raise UserError(
            f"{path} belongs to another checkpoint than {model} (their SHA-256 differ): "
            f"say captionlab calibrate {model}"
        )
    return calibration


def require_calibration(model: str | os.PathLike[str], option: str) -> Calibration:
    """Return the calibration of a checkpoint or an exported folder, which an option needs.

    Raises:
        UserError: as ``calibration_of``, and where there is none.
    """
    calibration = calibration_of(model)
    if calibration is None:
        checkpoint = "the checkpoint, and export it again" if Path(model).is_dir() else model
        raise UserError(
            f"{option}: there is no {calibration_path(model)}, which tells how sure a caption is: "
            f"say captionlab calibrate {checkpoint}"
        )
    return calibration
