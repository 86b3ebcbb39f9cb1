"""The calibration that lies beside a checkpoint, and whether it is that of the checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.core.files import file_sha256
from captionlab.inference.export.hub import download, is_hub_address
from captionlab.inference.export.manifest import require_inside
from captionlab.metrics.calibration import NAME, Calibration


def calibration_path(model: str | os.PathLike[str]) -> Path:
    """Return where the calibration of a checkpoint, or of an exported folder, lies or would lie."""
    path = Path(model)
    return path / NAME if path.is_dir() else path.with_name(NAME)


def read_calibration(model: str | os.PathLike[str]) -> Calibration | None:
    """Return what lies beside a checkpoint, whosever it is, or in an exported folder; None for nothing.

    An export on the hub (``hf://owner/name``) is fetched first.

    Raises:
        UserError: if it is damaged, a link that leads out of the folder, or cannot be fetched.
    """
    folder, root = download(model) if is_hub_address(model) else (Path(model), Path(model))
    path = calibration_path(folder)
    if not path.exists():
        return None
    if folder.is_dir():  # a stranger's, like all that lies in it
        require_inside(path, root)
    return Calibration.read(path)


def belongs_to(calibration: Calibration, model: str | os.PathLike[str]) -> bool:
    """Return whether a calibration is that of a checkpoint; a folder's is whatever lies in it."""
    return not Path(model).is_file() or calibration.checkpoint_sha256 == file_sha256(model)


def calibration_of(model: str | os.PathLike[str]) -> Calibration | None:
    """Return the calibration of a checkpoint, or of an exported folder; None where there is none.

    Raises:
        UserError: as ``read_calibration``, or if what lies there belongs to another checkpoint.
    """
    calibration = read_calibration(model)
    if calibration is not None and not belongs_to(calibration, model):
        raise UserError(
            f"{calibration_path(model)} belongs to another checkpoint than {model} (their SHA-256 "
            f"differ): say captionlab calibrate {model}"
        )
    return calibration


def require_calibration(model: str | os.PathLike[str], option: str) -> Calibration:
    """Return the calibration of a checkpoint or an exported folder, which an option needs.

    Raises:
        UserError: as ``calibration_of``, and where there is none.
    """
    calibration = calibration_of(model)
    if calibration is not None:
        return calibration
    if is_hub_address(model):
        raise UserError(
            f"{option}: {model} has no {NAME}, which tells how sure a caption is: leave {option} out, "
            "or ask its owner for one"
        )
    checkpoint = "the checkpoint, and export it again" if Path(model).is_dir() else model
    raise UserError(
        f"{option}: there is no {calibration_path(model)}, which tells how sure a caption is: "
        f"say captionlab calibrate {checkpoint}"
    )
