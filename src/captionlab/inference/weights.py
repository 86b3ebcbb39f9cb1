"""A captioner of a checkpoint's configuration, with its weights and nothing from elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from captionlab.build import Sizes, build_captioner
from captionlab.config.check import check
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.core.hugging_face import require_offline
from captionlab.core.registry import is_listed, require_allowed
from captionlab.core.targets import locate
from captionlab.inference.bounds import (
    registered_at_most,
    require_bounded,
    require_small_buffers,
)
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.skipped_init import SkippedInit
from captionlab.models.captioner import Captioner

OUTSIDE = ("weights", "embeddings")  # settings that name files or what a hub holds
LIBRARY_TYPES = "transformers.models."  # trust=transformers.models.NAME


def captioner_of(
    checkpoint: Checkpoint, trust: Sequence[str] = (), *, keeps_draws: bool = True
) -> Captioner:
    """Return the captioner of a checkpoint with its weights, in evaluation mode on the CPU.

    Args:
        checkpoint: as ``read_checkpoint`` returns it.
        trust: classes, or packages of your own, that it may name beside captionlab's own.
        keeps_draws: draw random weights before the file's replace them, as training does; it takes
            time, and random numbers go on from there.

    Raises:
        UserError: if it names another class, a size beyond its weights or something outside of the
            file, or its weights do not fit its config.
    """
    model = checkpoint.config["model"]
    require_allowed({"model": model}, trust)
    require_bounded(model, checkpoint.path)
    model = _self_contained(model, checkpoint.path, trust)
    check({"model": model})
    sizes = Sizes.of(checkpoint.tokenizer)
    return build_with_weights(model, sizes, checkpoint, keeps_draws=keeps_draws).eval()


def build_with_weights(
    model: Config, sizes: Sizes, checkpoint: Checkpoint, *, keeps_draws: bool = True
) -> Captioner:
    """Return the captioner of a model's configuration with the weights of a checkpoint.

    ``keeps_draws`` as in ``captioner_of``.

    Raises:
        UserError: if they do not fit it.
    """
    listed = is_listed({"model": model})
    if listed:
        # on no device: its shapes are compared before any memory is asked for
        bounds = registered_at_most(len(checkpoint.weights))
        with torch.device("meta"), SkippedInit(), bounds:
            outline = build_captioner(model, sizes)
        require_fit(outline, checkpoint)
        require_small_buffers(outline, checkpoint.path)
    with SkippedInit() if listed and not keeps_draws else nullcontext():
        captioner: Captioner = build_captioner(model, sizes)
    load_weights(captioner, checkpoint)
    return captioner


def _self_contained(model: Config, path: Path, trust: Sequence[str]) -> dict[str, object]:
    """Return an allowed model's configuration that reads nothing but its own checkpoint.

    Raises:
        UserError: if a part of it is named and not described.
    """
    contained = dict(model)
    types = [name.removeprefix(LIBRARY_TYPES) for name in trust if name.startswith(LIBRARY_TYPES)]
    for name in ("encoder", "decoder"):
        part = dict(model[name])
        options = inspect.signature(locate(part["_target_"])).parameters
        # left out, they would be their defaults: weights that are looked for
        part |= {key: None for key in OUTSIDE if key in options or key in part}
        if "architecture" in options:
            require_offline(f"{path}: model.{name}", part, types)
        contained[name] = part
    return contained


def without_downloads(model: Config, stored: Config | None = None) -> dict[str, object]:
    """Return a model's configuration that builds it bare: the weights come from a checkpoint.

    ``stored`` is the checkpoint's own configuration of its model: what a part from elsewhere is
    made of (``architecture``) is taken from it.
    """
    bare = dict(model)
    for name in ("encoder", "decoder"):
        part = dict(model[name])
        part |= {key: None for key in OUTSIDE if key in part}
        before = (stored or {}).get(name, {})
        if "architecture" in part and before.get("_target_") == part["_target_"]:
            part["architecture"] = before.get("architecture")
            require_offline(f"model.{name}", part)
        bare[name] = part
    index = ((stored or {}).get("retrieval") or {}).get("index")
    if bare.get("retrieval") and index is not None:  # that of the file's weights
        bare["retrieval"] = {**bare["retrieval"], "index": index}
    return bare


def load_weights(captioner: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a captioner.

    Raises:
        UserError: as ``require_fit``.
    """
    require_fit(captioner, checkpoint)
    captioner.load_state_dict(checkpoint.weights)


def require_fit(captioner: nn.Module, checkpoint: Checkpoint) -> None:
    """Compare a checkpoint's weights with a captioner's names and shapes.

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
    problems += [
        f"has {name} in {tensor.dtype}, this model's is {own[name].dtype}"
        for name, tensor in checkpoint.weights.items()
        if name in own and own[name].is_floating_point() != tensor.is_floating_point()
    ]
    if problems:
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        raise UserError(
            f"{checkpoint.path} does not fit this model: it {problems[0]}{more}; choose the model and "
            f"tokenizer it was trained with (model={checkpoint.config['model'].get('name')})."
        )
