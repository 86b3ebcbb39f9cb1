"""A captioner written as ONNX graphs, with the script that runs them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from captionlab.core.errors import UserError
from captionlab.inference.export.onnx.captioner import OnnxCaptioner
from captionlab.inference.export.onnx.graphs import (
    STEP,
    Graphs,
    moved_tensors,
    random_images,
    trace_graphs,
)
from captionlab.inference.export.onnx.precision import lowered
from captionlab.inference.export.onnx.runner import runner_settings
from captionlab.inference.export.onnx.session import GraphSession
from captionlab.inference.export.onnx.storage import save_graphs
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.models.captioner import Captioner

RUNNER = "caption.py"
# what a finished export is tried with: images and beams that no size of the trace is, and one of each
SIZES = ((1, 1), (3, 2), (2, 5))
STEPS = 3
TOLERANCE = 1e-3


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
    settings = runner_settings(loaded)
    graphs = trace_graphs(captioner, random_images(size))
    save_graphs(graphs.models, folder)
    described = {"tokenizer": loaded.tokenizer.to_dict(), "image": {"size": size}}
    _require_same(captioner, OnnxCaptioner(folder, {"onnx": _entry(graphs, folder), **described}))
    if precision != "float32":
        save_graphs(
            lowered(graphs.models, precision, map(loaded.prepare, calibration_images)), folder
        )
    shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
    return {**_entry(graphs, folder), "runner": settings}


def _entry(graphs: Graphs, folder: Path) -> dict[str, Any]:
    return {
        "graphs": {name: GraphSession(folder, name).signature for name in graphs.models},
        "counters": dict(graphs.counters),
        "moved": moved_tensors(graphs.models[STEP]),
        "longest": graphs.longest,
        "noise": graphs.noise,
    }


@torch.inference_mode()
def _require_same(captioner: Captioner, exported: OnnxCaptioner) -> None:
    """Raise UserError unless graphs in float32 score words as their captioner does.

    An exporter may translate an operator wrongly, for some numbers of images and beams alone.
    """
    size = captioner.encoder.image_size
    generator = torch.Generator().manual_seed(1)
    for images, width in SIZES:
        shape = (images, 3, size, size)
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        state: Any = captioner.init_state(captioner.encode(pictures), width)
        other = exported.init_state(exported.encode(pictures), width)
        tokens = torch.ones(images, width, dtype=torch.long)
        for _ in range(STEPS):
            expected, state = captioner.step(tokens, state)
            found, other = exported.step(tokens, other)
            if not torch.allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE):
                raise UserError(
                    f"a {type(captioner.decoder).__name__} cannot be exported to ONNX: its graphs score "
                    f"words otherwise than torch, by up to {(found - expected).abs().max():.1g}; say "
                    "--format safetensors"
                )
            tokens = expected.topk(2, -1).indices[..., 1]
