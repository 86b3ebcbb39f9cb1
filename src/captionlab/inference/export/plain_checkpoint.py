"""A checkpoint of plain weights: adapters merged, nothing that a run resumes with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from captionlab.core.errors import UserError
from captionlab.core.files import replacing
from captionlab.inference.checkpoints import KEY, WEIGHTS_PREFIX, Checkpoint, portable
from captionlab.inference.export.merge import merge_adapters
from captionlab.inference.weights import captioner_of


def write_checkpoint(
    checkpoint: Checkpoint, path: Path, *, overwrite: bool = False, trust: Sequence[str] = ()
) -> None:
    """Write the captioner of a checkpoint as a checkpoint whose adapters are merged.

    It is evaluated, started from (``init_from=``) and written together with others as any is.

    Raises:
        UserError: if the checkpoint cannot be loaded, or a file stands there and ``overwrite`` is not
            asked for.
    """
    if path.exists() and not overwrite:
        raise UserError(f"--out {path} is there: choose another name, or say --overwrite")
    captioner = captioner_of(checkpoint, trust, keeps_draws=False)
    composed = checkpoint.composed
    composed = {**composed, "model": merge_adapters(captioner, composed["model"])}
    entry = portable(composed, checkpoint.tokenizer, checkpoint.overrides, checkpoint.data)
    weights = {WEIGHTS_PREFIX + name: w for name, w in captioner.state_dict().items()}
    content = {
        "epoch": checkpoint.epochs,
        "state_dict": weights,
        KEY: {**entry, "scores": dict(checkpoint.scores)},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)
