"""A checkpoint's captioner, written as a folder that works anywhere."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from captionlab import __version__
from captionlab.config.instantiate import build_part
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.inference.bounds import require_decoding
from captionlab.inference.calibrated import belongs_to, calibration_path, read_calibration
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.export.card import render_card
from captionlab.inference.export.card_facts import CardFacts, Measured
from captionlab.inference.export.folder import CARD, new_export, write_manifest
from captionlab.inference.export.manifest import WEIGHTS
from captionlab.inference.export.merge import merge_adapters
from captionlab.inference.export.safetensors_format import write_weights
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.inference.weights import captioner_of
from captionlab.metrics.calibration import NAME

log = logging.getLogger(__name__)

# of a configuration, what describes a captioner; the rest is of its training and of its machine
GROUPS = ("model", "decoding", "data")
SETTINGS = ("seed", "meteor", "samples")
DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class ExportSettings:
    """How a captioner is exported.

    ``merge`` adds adapters to the weights beside them; graphs and programs have none in any case.
    ``calibration_images`` show int8 the range of activations. ``license`` is what the card states,
    ``measured`` the scores that it shows.
    """

    format: str
    precision: str = "float32"
    merge: bool = True
    calibration_images: Sequence[Path] = ()
    license: str | None = None
    measured: Measured = field(default_factory=Measured)


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
        described = {**_described(loaded, config, settings), **_history(checkpoint)}
        calibrated = copy_calibration(checkpoint.path, temporary)
        facts = _facts(checkpoint, loaded, described, settings)
        card = render_card(replace(facts, calibrated=calibrated))
        entries = _write_network(loaded, temporary, settings)
        (temporary / CARD).write_text(card, encoding="utf-8", errors="backslashreplace")
        write_manifest(temporary, {**described, **entries})


def require_possible(settings: ExportSettings) -> None:
    """Raise UserError for a precision that the format does not have."""
    if settings.precision == "float16" and settings.format == "torch":
        raise UserError("--fp16 is for --format onnx and safetensors: programs compute as they are")
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
        captioner_of(checkpoint, trust, keeps_draws=False),
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
    if settings.format == "torch":
        from captionlab.inference.export.torch_format import write_programs

        return {"torch": write_programs(loaded, folder)}
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


def _history(checkpoint: Checkpoint) -> dict[str, object]:
    """Return what a checkpoint tells of its training, but for folders of this machine."""
    return {
        "epochs": checkpoint.epochs,
        "scores": {name: v for name, v in checkpoint.scores.items() if math.isfinite(v)},
        "data": {key: v for key, v in checkpoint.data.items() if key != "origin"},
    }


def _facts(
    checkpoint: Checkpoint,
    loaded: LoadedCaptioner,
    described: Mapping[str, Any],
    settings: ExportSettings,
) -> CardFacts:
    return CardFacts(
        config={**checkpoint.config, **described["config"]},
        format=settings.format,
        precision=settings.precision,
        trained_on=checkpoint.data,
        validation=checkpoint.scores,
        epochs=checkpoint.epochs,
        parameters=sum(p.numel() for p in loaded.captioner.parameters()),
        vocabulary=len(loaded.tokenizer),
        languages=loaded.tokenizer.languages,
        image=described["image"],
        versions=described["versions"],
        measured=settings.measured,
        license=settings.license,
    )


def copy_calibration(path: Path, folder: Path) -> bool:
    """Write the calibration of a checkpoint, or of an export, into a folder; return whether there is one.

    One beside it that belongs to another checkpoint stays there.

    Raises:
        UserError: if it is none.
    """
    calibration = read_calibration(path)
    if calibration is None:
        return False
    if not belongs_to(calibration, path):
        place = calibration_path(path)
        log.warning("%s is of another checkpoint than %s: it is not exported", place, path)
        return False
    calibration.write(folder / NAME)
    return True


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
