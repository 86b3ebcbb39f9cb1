"""A captioner written as ONNX graphs, with the script that runs them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from captionlab.inference.export.onnx.graphs import trace_graphs
from captionlab.inference.export.onnx.precision import lowered
from captionlab.inference.export.onnx.runner import runner_settings
from captionlab.inference.export.onnx.session import GraphSession
from captionlab.inference.export.onnx.storage import save_graphs
from captionlab.inference.loaded import LoadedCaptioner

RUNNER = "caption.py"


def write_onnx(
    loaded: LoadedCaptioner,
    folder: Path,
    *,
    precision: str,
    calibration_images: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write a captioner's graphs, weights and runner into a folder; return what its list says of them.

    Args:
        precision: float32, float16 (weights alone) or int8.
        calibration_images: photographs that show int8 the range of an encoder's activations.

    Raises:
        UserError: if the captioner cannot be exported, or int8 lacks the photographs it needs.
    """
    captioner = loaded.captioner.cpu().eval()
    size = captioner.encoder.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=generator)
    settings = runner_settings(loaded)
    graphs = trace_graphs(captioner, images)
    prepared = map(loaded.prepare, calibration_images)
    save_graphs(lowered(graphs.models, precision, prepared), folder)
    shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
    return {
        "graphs": {name: GraphSession(folder, name).signature for name in graphs.models},
        "counters": dict(graphs.counters),
        "longest": graphs.longest,
        "noise": graphs.noise,
        "runner": settings,
    }
