"""Export: a checkpoint becomes a folder that captions photographs elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from captionlab.cli.predict import find_images
from captionlab.core.files import require_folder_place
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export.folder import require_free
from captionlab.inference.export.write import ExportSettings, require_possible, write_export

MOST_CALIBRATION_IMAGES = 256


def export(
    checkpoint: str,
    out: str,
    *,
    format: str,
    precision: str = "float32",
    calibration: str | None = None,
    merge: bool = True,
    license: str | None = None,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> int:
    """Write the captioner of a checkpoint as a folder, print what is in it, and return 0.

    Args:
        checkpoint: its path, or a folder that was exported with ``format="safetensors"``.
        out: the new folder.
        format: onnx, safetensors or torch. precision: float32, float16 or int8.
        calibration: a folder of photographs that show int8 the range of activations.
        merge: add low-rank adapters to the weights beside them.
        license: of the captioner, for its card. overwrite: an earlier export there.
        trust: classes, or packages, that the checkpoint may name beside captionlab's own.

    Raises:
        UserError: if anything of it cannot work; nothing is written then.
    """
    folder = require_folder_place(out, "--out ")
    require_free(folder, overwrite=overwrite)
    images = [] if calibration is None else find_images([calibration])[:MOST_CALIBRATION_IMAGES]
    settings = ExportSettings(format, precision, merge, images, license)
    require_possible(settings)
    write_export(read_checkpoint(checkpoint), folder, settings, overwrite=overwrite, trust=trust)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1e6:>9.2f} MB  {Path(out, path.name)}")
    return 0
