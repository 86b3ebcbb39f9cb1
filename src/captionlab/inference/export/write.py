"""A checkpoint's captioner, written as a folder that works anywhere."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch

from captionlab import __version__
from captionlab.config.instantiate import build_part
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.inference.bounds import require_decoding
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.export.folder import new_export, write_manifest
from captionlab.inference.export.manifest import WEIGHTS
from captionlab.inference.export.merge import merge_adapters
from captionlab.inference.export.safetensors_format import write_weights
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.inference.weights import captioner_of

# of a configuration, what describes a captioner; the rest is of its training and of its machine
GROUPS = ("model", "decoding", "data")
SETTINGS = ("seed", "meteor", "samples")
DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class ExportSettings:
    """How a captioner is exported.

    ``merge`` adds adapters to the weights beside them; graphs and programs have none in any case.
    ``calibration_images`` show int8 the range of activations. ``license`` is what the card states.
    """

    format: str
    precision: str = "float32"
    merge: bool = True
    calibration_images: Sequence[Path] = ()
    license: str | None = None


def write_export(
    checkpoint: Checkpoint,
    folder: Path,
    settings: ExportSettings,
    *,
    overwrite: bool = False,
    trust: Sequence[str] = (),
) -> None:
    """Write the captioner of a checkpoint into a new folder: all of it, or nothing.

    Raises:
        UserError: if the checkpoint cannot be loaded, its captioner not be exported in this form, or
            something stands there that may not be replaced.
    """
    require_possible(settings)
    with new_export(folder, overwrite=overwrite) as temporary:
        loaded = _loaded(checkpoint, trust)
        model = checkpoint.config["model"]
        if settings.merge or settings.format != "safetensors":
            model = merge_adapters(loaded.captioner, model)
        config = public_config({**checkpoint.config, "model": model})
        loaded.config = config
        entries = _write_network(loaded, temporary, settings)
        write_manifest(temporary, {**_described(loaded, config, settings), **entries})


def require_possible(settings: ExportSettings) -> None:
    """Raise UserError for a precision that the format does not have."""
    if settings.precision == "int8" and settings.format != "onnx":
        raise UserError(
            f"--int8 is for --format onnx; --format {settings.format} has no such kernels"
        )
    if settings.calibration_images and settings.precision != "int8":
        raise UserError(
            "--calibration shows --int8 the range of activations: say --int8, or leave it out"
        )


def _loaded(checkpoint: Checkpoint, trust: Sequence[str]) -> LoadedCaptioner:
    decoding = checkpoint.config["decoding"]
    require_decoding(decoding, checkpoint, trust)
    return LoadedCaptioner(
        captioner_of(checkpoint, trust),
        checkpoint.tokenizer,
        build_part(decoding, "decoding"),
        checkpoint.config,
    )


def _write_network(
    loaded: LoadedCaptioner, folder: Path, settings: ExportSettings
) -> dict[str, object]:
    """Write the network's files; return what the list says of them."""
    if settings.format == "safetensors":
        weights = loaded.captioner.state_dict()
        return {"tied": write_weights(weights, folder / WEIGHTS, DTYPES[settings.precision])}
    from captionlab.inference.export.onnx import write_onnx

    return {
        "onnx": write_onnx(
            loaded,
            folder,
            precision=settings.precision,
            calibration_images=settings.calibration_images,
        )
    }


def _described(
    loaded: LoadedCaptioner, config: Config, settings: ExportSettings
) -> dict[str, object]:
    return {
        "format": settings.format,
        "precision": settings.precision,
        "config": config,
        "tokenizer": loaded.tokenizer.to_dict(),
        "image": {
            "size": loaded.captioner.encoder.image_size,
            "fit": config["data"].get("fit", "stretch"),
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what wrote an export."""
    return {
        "captionlab": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def public_config(config: Config) -> MutableConfig:
    """Return what describes a captioner of a resolved configuration, for people elsewhere.

    Folders of this machine are reduced to their last name: they mean nothing elsewhere, and tell
    strangers about it.
    """
    kept = {name: config[name] for name in (*GROUPS, *SETTINGS) if name in config}
    trainer = config.get("trainer")
    if isinstance(trainer, Mapping) and "precision" in trainer:
        kept["trainer"] = {"precision": trainer["precision"]}
    # words of a decoding may look like anything
    return {k: v if k == "decoding" else _without_folders(v) for k, v in kept.items()}


def _without_folders(node: object) -> object:
    if isinstance(node, Mapping):
        return {key: _without_folders(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_without_folders(child) for child in node]
    if isinstance(node, str):
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(node)
            if path.is_absolute() or node.startswith("~"):
                return path.name or node
    return node
