"""Export: a checkpoint becomes a folder that captions photographs elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from captionlab.cli.predict import find_images
from captionlab.core.errors import UserError
from captionlab.core.files import require_file_place, require_folder_place
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.export.card_facts import Measured
from captionlab.inference.export.folder import require_free
from captionlab.inference.export.plain_checkpoint import write_checkpoint
from captionlab.inference.export.write import ExportSettings, require_possible, write_export
from captionlab.metrics.bootstrap import intervals
from captionlab.metrics.statistics_file import STATISTICS, StatisticsFile
from captionlab.runs.run import RESULTS
from captionlab.runs.run_files import read_results

CHECKPOINT = "checkpoint"
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
        out: the new folder; of ``format="checkpoint"`` the new file.
        format: onnx, safetensors, torch or checkpoint. precision: float32, float16 or int8.
        calibration: a folder of photographs that show int8 the range of activations.
        merge: add low-rank adapters to the weights beside them.
        license: of the captioner, for its card. overwrite: an earlier export there.
        trust: classes, or packages, that the checkpoint may name beside captionlab's own.

    Raises:
        UserError: if anything of it cannot work; nothing is written then.
    """
    if license is not None and not license.strip():
        raise UserError("--license is empty: state one, or leave it out")
    if format == CHECKPOINT:
        if precision != "float32" or calibration is not None or license is not None or not merge:
            raise UserError(
                "--format checkpoint merges adapters and keeps the rest as it is: leave --int8, --fp16, "
                "--calibration, --license and --no-merge out"
            )
        path = require_file_place(out, "--out ", binary=True)
        write_checkpoint(read_checkpoint(checkpoint), path, overwrite=overwrite, trust=trust)
        _print_sizes([path])
        return 0
    folder = require_folder_place(out, "--out ")
    require_free(folder, overwrite=overwrite)
    images = [] if calibration is None else find_images([calibration])[:MOST_CALIBRATION_IMAGES]
    settings = ExportSettings(format, precision, merge, images, license)
    require_possible(settings)
    stored = read_checkpoint(checkpoint)
    settings = replace(settings, measured=measured(stored))
    write_export(stored, folder, settings, overwrite=overwrite, trust=trust)
    _print_sizes(sorted(folder.iterdir()))
    return 0


def _print_sizes(paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"{path.stat().st_size / 1e6:>9.2f} MB  {path}")


def measured(checkpoint: Checkpoint) -> Measured:
    """Return the test scores of a run's best checkpoint, with intervals; none of any other.

    A damaged file of scores costs the card its scores, and is named on stderr.
    """
    run = checkpoint.path.parent.parent
    if checkpoint.path.parent.name != "checkpoints" or not checkpoint.path.name.startswith("best"):
        return Measured()
    try:
        results = read_results(run / RESULTS)
        scores = {n: float(v) for n, v in results.items() if isinstance(v, int | float)}
        data = results.get("data")
        return Measured(scores, _intervals(run, scores), data if isinstance(data, dict) else {})
    except UserError as error:
        print(f"note: the card has no test scores ({error})", file=sys.stderr)
        return Measured()


def _intervals(run: Path, scores: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the test scores whose statistics a run has left."""
    if not (run / STATISTICS).is_file():
        return {}
    statistics = StatisticsFile(run / STATISTICS)
    named = [name.removeprefix("test/") for name in scores if name.startswith("test/")]
    certain = intervals({name: statistics[name] for name in named if name in statistics})
    return {f"test/{name}": interval for name, interval in certain.items()}
