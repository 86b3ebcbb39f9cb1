"""The one portable format: a Lightning checkpoint that carries what its weights need.

Beside Lightning's own entries a file holds ``captionlab: {format, config, tokenizer, decoding,
overrides}``, all of it plain types, so that it loads with ``weights_only=True`` and works on a
machine that has neither the training data nor the training code's working folder.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captionlab.configuration import TRUSTED_TARGETS, Sizes, build_captioner
from captionlab.errors import UserError, did_you_mean
from captionlab.models.captioner import Captioner
from captionlab.signatures import check
from captionlab.text.tokenizers import Tokenizer, tokenizer_from_dict

FORMAT = 1
KEY = "captionlab"
WEIGHTS_PREFIX = "captioner."


def portable(
    config: Mapping[str, Any], tokenizer: Tokenizer, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the part of a checkpoint that makes it self-contained: plain types only."""
    return {
        "format": FORMAT,
        "config": dict(config),
        "tokenizer": tokenizer.to_dict(),
        "decoding": dict(config["decoding"]),
        "overrides": list(overrides),
    }


@dataclass(frozen=True)
class Checkpoint:
    """A read checkpoint: resolved configuration, tokenizer, captioner weights, finished epochs.

    ``scores`` are those of its validation, by name; empty where it had none.
    """

    path: Path
    config: dict[str, Any]
    tokenizer: Tokenizer
    overrides: list[str]
    weights: dict[str, Tensor]
    epochs: int
    scores: dict[str, float] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Return a checkpoint's parts, on the CPU, loaded with ``weights_only=True``.

    Raises:
        UserError: if there is no such file, it is damaged, or another program wrote it.
    """
    path = Path(path)
    stored = _load(path)
    entry = stored.get(KEY) if isinstance(stored, dict) else None
    if not isinstance(entry, dict):
        raise UserError(
            f"{path} is a checkpoint of another project: it has no entry {KEY!r}; "
            "give a file that captionlab wrote, e.g. runs/.../checkpoints/best.ckpt."
        )
    if entry.get("format") != FORMAT:
        raise UserError(
            f"{path} has checkpoint format {entry.get('format')!r}, this captionlab reads {FORMAT}: "
            "use the version of captionlab that wrote it."
        )
    weights = {
        name.removeprefix(WEIGHTS_PREFIX): tensor
        for name, tensor in stored["state_dict"].items()
        if name.startswith(WEIGHTS_PREFIX)
    }
    return Checkpoint(
        path,
        entry["config"],
        tokenizer_from_dict(entry["tokenizer"]),
        list(entry["overrides"]),
        weights,
        _epochs_done(stored),
        dict(entry.get("scores", {})),
    )


def _epochs_done(stored: Mapping[str, Any]) -> int:
    """Return how many epochs were finished: Lightning counts the current one from 0."""
    epoch = int(stored.get("epoch", 0))
    batches = stored.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress")
    whole = batches is not None and batches["is_last_batch"]
    return epoch + 1 if whole else epoch


def _load(path: Path) -> Any:
    if path.is_dir():
        inside = sorted(path.glob("**/best.ckpt")) or sorted(path.glob("**/*.ckpt"))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise UserError(f"{path} is a folder, not a checkpoint{hint}")
    if not path.is_file():
        near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        raise UserError(f"There is no checkpoint {path}; {did_you_mean(str(path), near)}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path} is damaged or not a checkpoint at all.") from error
        raise UserError(
            f"{path} is a checkpoint of another project: it holds objects that only its own code "
            "can load, and captionlab does not run code out of a file."
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or not a checkpoint at all ({str(error).splitlines()[0]})."
        ) from error


def captioner_of(checkpoint: Checkpoint, trust: Sequence[str] = ()) -> Captioner:
    """Return the captioner of a checkpoint with its weights, in evaluation mode on the CPU.

    Args:
        checkpoint: as ``read_checkpoint`` returns it.
        trust: packages beside captionlab, torch and torchvision whose classes it may name.

    Raises:
        UserError: if it names a class outside these packages, or its weights do not fit its config.
    """
    model = without_downloads(checkpoint.config["model"])
    check({"model": model}, trusted=(*TRUSTED_TARGETS, *trust))
    captioner: Captioner = build_captioner(model, Sizes.of(checkpoint.tokenizer))
    load_weights(captioner, checkpoint)
    return captioner.eval()


def without_downloads(
    model: Mapping[str, Any], stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a model's configuration that builds it bare: the weights come from a checkpoint.

    ``stored`` is the checkpoint's own configuration of its model: what a part from elsewhere is
    made of (``architecture``) is taken from it.
    """
    bare = dict(model)
    for name in ("encoder", "decoder"):
        part = dict(model[name])
        part |= {key: None for key in ("weights", "embeddings") if key in part}
        before = (stored or {}).get(name, {})
        if "architecture" in part and before.get("_target_") == part["_target_"]:
            part["architecture"] = before["architecture"]
        bare[name] = part
    return bare


def load_weights(captioner: Captioner, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a captioner.

    Raises:
        UserError: if a weight is missing, left over, or of another shape; the first one is named.
    """
    own = captioner.state_dict()
    problems = [f"has no {name}" for name in own if name not in checkpoint.weights]
    problems += [
        f"has {name}, which this model lacks" for name in checkpoint.weights if name not in own
    ]
    problems += [
        f"has {name} of shape {tuple(tensor.shape)}, this model's is {tuple(own[name].shape)}"
        for name, tensor in checkpoint.weights.items()
        if name in own and own[name].shape != tensor.shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        raise UserError(
            f"{checkpoint.path} does not fit this model: it {problems[0]}{more}; choose the model and "
            f"tokenizer it was trained with (model={checkpoint.config['model'].get('name')})."
        )
    captioner.load_state_dict(checkpoint.weights)
