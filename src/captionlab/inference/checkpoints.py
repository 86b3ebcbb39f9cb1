"""The one portable format: a Lightning checkpoint that carries what its weights need.

Beside Lightning's own entries a file holds ``captionlab: {format, config, tokenizer, decoding,
overrides, data}``, all of it plain types, so that it loads with ``weights_only=True`` and works on a
machine that has neither the training data nor the training code's working folder. ``config`` keeps
the references between its values (``captionlab.config.references``).

A file may come from a stranger. It may name the classes of ``captionlab.core.registry`` and nothing else;
loading it runs no code of its own, looks for no other file and asks no network; what its sizes would
allocate is held against the weights that are there before anything is allocated.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration

from captionlab.build import Sizes, build_captioner
from captionlab.config.check import check
from captionlab.config.override import known_references
from captionlab.config.references import resolve_references, restore
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError
from captionlab.core.hugging_face import require_offline
from captionlab.core.registry import is_listed, require_allowed
from captionlab.core.renamed import rename_targets, renamed_weight
from captionlab.core.targets import locate
from captionlab.core.tensor_files import dense, load_file, plain
from captionlab.models.captioner import Captioner
from captionlab.text.tokenizers import Tokenizer, tokenizer_from_dict

FORMAT = 3
READABLE = (1, 2, 3)  # 1 held a resolved configuration, 2 other names of classes and weights
KEY = "captionlab"
WEIGHTS_PREFIX = "captioner."
OPTIMIZERS = "optimizer_states"  # Lightning's entry, absent where weights alone were saved
PARTS = ("encoder", "decoder", "attention")
OUTSIDE = ("weights", "embeddings")  # settings that name files or what a hub holds
LIBRARY_TYPES = "transformers.models."  # trust=transformers.models.NAME

# What a file's configuration may ask for, far above what any captioner has.
LARGEST_IMAGE = 1024  # pixels a side
LARGEST_NUMBER = 2**24  # of anything in a model, vocabularies and positions included
LARGEST_DECODING = 1024  # beams, samples, tokens
MOST_SETTINGS = 20_000  # of a configuration: a few hundred are usual
LONGEST_LIST = 1_000  # in a model or a decoding: building one takes time with its length
MOST_UNSTORED = 2**26  # elements of buffers that no file holds, such as tables of positions


def portable(
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    overrides: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the part of a checkpoint that makes it self-contained: plain types only.

    ``config`` may hold references; ``data`` tells the data of the run from other data.
    """
    return {
        "format": FORMAT,
        "config": dict(config),
        "tokenizer": tokenizer.to_dict(),
        "decoding": dict(config["decoding"]),
        "overrides": list(overrides),
        "data": dict(data or {}),
    }


@dataclass(frozen=True)
class Checkpoint:
    """A read checkpoint: configuration, tokenizer, captioner weights, finished epochs.

    ``config`` is resolved, ``composed`` the same with its references. ``scores`` are those of its
    validation, by name; empty where it had none. ``data`` tells what it was trained on. A
    ``resumable`` one holds what training goes on with, others weights alone.
    """

    path: Path
    config: dict[str, Any]
    tokenizer: Tokenizer
    overrides: list[str]
    weights: dict[str, Tensor]
    epochs: int
    scores: dict[str, float] = field(default_factory=dict)
    composed: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    resumable: bool = True


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Return a checkpoint's parts, on the CPU, loaded with ``weights_only=True``.

    Raises:
        UserError: if there is no such file, it is damaged, or another program wrote it.
    """
    require_local(path)  # as it was typed: a Path keeps one slash
    path = Path(path)
    stored = load_file(path)
    entry = stored.get(KEY)
    if not isinstance(entry, dict):
        raise UserError(
            f"{path} is a checkpoint of another project: it has no entry {KEY!r}; "
            "give a file that captionlab wrote, e.g. runs/.../checkpoints/best.ckpt."
        )
    written = entry.get("format")
    if type(written) is not int or written not in READABLE:
        raise UserError(
            f"{path} has checkpoint format {written!r}, this captionlab reads {FORMAT}: "
            "use the version of captionlab that wrote it."
        )
    plain(entry.get("config"), f"{path}: config", MOST_SETTINGS)
    entry = plain(entry, f"{path}: {KEY}")
    _require_entries(entry, path)
    composed = rename_targets(entry["config"])
    config = resolve_references(composed, f"{path}: config")
    if written == 1:
        composed = restore(config, known_references())
    decoder = entry["config"]["model"]["decoder"].get("_target_") if written < FORMAT else None
    weights = {
        renamed_weight(name.removeprefix(WEIGHTS_PREFIX), decoder): tensor
        for name, tensor in dense(stored.get("state_dict"), WEIGHTS_PREFIX, str(path)).items()
    }
    return Checkpoint(
        path,
        config,
        tokenizer_from_dict(entry["tokenizer"]),
        [str(override) for override in entry["overrides"]],
        weights,
        _epochs_done(stored),
        {n: v for n, v in entry.get("scores", {}).items() if isinstance(v, int | float)},
        composed,
        entry.get("data", {}),
        OPTIMIZERS in stored,
    )


def _require_entries(entry: Mapping[str, Any], path: Path) -> None:
    """Raise UserError unless a checkpoint has the entries that everything after it reads."""
    kinds = {"config": dict, "tokenizer": dict, "overrides": list}
    kinds |= {name: dict for name in ("scores", "data") if name in entry}
    nodes = {name: (entry.get(name), kind) for name, kind in kinds.items()}
    config = entry.get("config")
    groups = config if isinstance(config, dict) else {}
    nodes |= {f"config.{name}": (groups.get(name), dict) for name in ("model", "decoding", "data")}
    model = groups.get("model")
    parts = model if isinstance(model, dict) else {}
    nodes |= {f"config.model.{name}": (parts.get(name), dict) for name in PARTS}
    for name, (value, kind) in nodes.items():
        if not isinstance(value, kind):
            raise UserError(
                f"{path} is damaged: its {name} is {value!r:.60}, and a {kind.__name__} belongs there."
            )
    for place in ("decoding", *(f"model.{name}" for name in PARTS)):
        node = config
        for name in place.split("."):
            node = node[name]  # type: ignore[index]
        if "_target_" not in node:  # type: ignore[operator]
            raise UserError(f"{path} is damaged: its config.{place} names no class.")


def _epochs_done(stored: Mapping[str, Any]) -> int:
    """Return how many epochs were finished: Lightning counts the current one from 0."""
    epoch = stored.get("epoch", 0)
    if type(epoch) is not int:
        return 0
    node: Any = stored
    for name in ("loops", "fit_loop", "epoch_loop.batch_progress", "is_last_batch"):
        node = node.get(name) if isinstance(node, Mapping) else None
    return epoch + 1 if node is True else epoch


def captioner_of(checkpoint: Checkpoint, trust: Sequence[str] = ()) -> Captioner:
    """Return the captioner of a checkpoint with its weights, in evaluation mode on the CPU.

    Args:
        checkpoint: as ``read_checkpoint`` returns it.
        trust: classes, or packages of your own, that it may name beside captionlab's own.

    Raises:
        UserError: if it names another class, a size beyond its weights or something outside of the
            file, or its weights do not fit its config.
    """
    model = checkpoint.config["model"]
    require_allowed({"model": model}, trust)
    _require_bounded(model, checkpoint.path)
    model = _self_contained(model, checkpoint.path, trust)
    check({"model": model})
    return build_with_weights(model, Sizes.of(checkpoint.tokenizer), checkpoint).eval()


def build_with_weights(model: Mapping[str, Any], sizes: Sizes, checkpoint: Checkpoint) -> Captioner:
    """Return the captioner of a model's configuration with the weights of a checkpoint.

    Raises:
        UserError: if they do not fit it.
    """
    if is_listed({"model": model}):
        # on no device: its shapes are compared before any memory is asked for
        with torch.device("meta"), _registered_at_most(len(checkpoint.weights)):
            outline = build_captioner(model, sizes)
        require_fit(outline, checkpoint)
        _require_small_buffers(outline, checkpoint.path)
    captioner: Captioner = build_captioner(model, sizes)
    load_weights(captioner, checkpoint)
    return captioner


def _self_contained(model: Mapping[str, Any], path: Path, trust: Sequence[str]) -> dict[str, Any]:
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


def _require_bounded(model: Mapping[str, Any], path: Path) -> None:
    """Raise UserError for a number that no model has: some are allocated by no weight's name."""
    for key, value in _numbers(model, "model"):
        largest = LARGEST_IMAGE if key.endswith("image_size") else LARGEST_NUMBER
        if not abs(value) <= largest:
            raise UserError(f"{path}: {key}={value} is more than a model can have ({largest}).")


def require_decoding(
    decoding: Mapping[str, Any], checkpoint: Checkpoint, trust: Sequence[str]
) -> None:
    """Check a checkpoint's decoding, as overrides left it, before it is built.

    Raises:
        UserError: if the file names a class that is not allowed, or asks for more beams, samples or
            tokens than can be meant.
    """
    path, stored = checkpoint.path, checkpoint.config["decoding"]
    require_allowed({"decoding": decoding}, trust, {"decoding": stored})
    check({"decoding": decoding})
    of_file = dict(_numbers(stored, "decoding"))
    for key, value in _numbers(decoding, "decoding"):
        if of_file.get(key) == value and not abs(value) <= LARGEST_DECODING:
            raise UserError(
                f"{path}: {key}={value} is more than a checkpoint may ask for "
                f"({LARGEST_DECODING}): choose another, such as decoding=beam."
            )


def _numbers(node: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _numbers(child, f"{key}.{name}")
    elif isinstance(node, list):
        if len(node) > LONGEST_LIST:
            raise UserError(f"{key} has {len(node):,} items, and {LONGEST_LIST:,} are the most.")
        for index, child in enumerate(node):
            yield from _numbers(child, f"{key}[{index}]")
    # random seeds are no sizes
    elif isinstance(node, int) and not isinstance(node, bool) and not key.endswith("seed"):
        yield key, node


@contextmanager
def _registered_at_most(tensors: int) -> Iterator[None]:
    """Stop a construction that registers many more parameters or modules than a file has tensors.

    Networks that are cut after they are built, or share weights, have a few more than are stored.
    """
    counts = {"parameters": 4 * tensors + 1_000, "modules": 50 * tensors + 10_000}

    def spend(what: str) -> None:
        counts[what] -= 1
        if counts[what] < 0:
            raise UserError(
                f"this model would have many more {what} than the {tensors} weights of its checkpoint"
            )

    handles = (
        registration.register_module_parameter_registration_hook(lambda *_: spend("parameters")),
        registration.register_module_module_registration_hook(lambda *_: spend("modules")),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _require_small_buffers(outline: nn.Module, path: Path) -> None:
    stored = set(outline.state_dict())
    elements = sum(b.numel() for name, b in outline.named_buffers() if name not in stored)
    if elements > MOST_UNSTORED:
        raise UserError(
            f"{path}: its model would have tables of {elements:,} numbers that are in no file."
        )


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
        part |= {key: None for key in OUTSIDE if key in part}
        before = (stored or {}).get(name, {})
        if "architecture" in part and before.get("_target_") == part["_target_"]:
            part["architecture"] = before.get("architecture")
            require_offline(f"model.{name}", part)
        bare[name] = part
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
