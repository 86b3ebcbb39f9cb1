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

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from captionlab.config.references import resolve_references, restore
from captionlab.core.addresses import require_local
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.core.renamed import rename_targets, renamed_weight
from captionlab.core.tensor_files import dense, load_file, plain
from captionlab.inference.export.folder import is_export
from captionlab.text.tokenizers import Tokenizer, tokenizer_from_dict

FORMAT = 3
READABLE = (1, 2, 3)  # 1 held a resolved configuration, 2 other names of classes and weights
KEY = "captionlab"
WEIGHTS_PREFIX = "captioner."
OPTIMIZERS = "optimizer_states"  # Lightning's entry, absent where weights alone were saved
PARTS = ("encoder", "decoder", "attention")

# What a file's configuration may ask for, far above what any captioner has.
MOST_SETTINGS = 20_000  # of a configuration: a few hundred are usual


def portable(
    config: Config,
    tokenizer: Tokenizer,
    overrides: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
) -> dict[str, object]:
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
    config: MutableConfig
    tokenizer: Tokenizer
    overrides: list[str]
    weights: dict[str, Tensor]
    epochs: int
    scores: dict[str, float] = field(default_factory=dict)
    composed: MutableConfig = field(default_factory=dict)
    data: MutableConfig = field(default_factory=dict)
    resumable: bool = True


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Return a checkpoint's parts, on the CPU, loaded with ``weights_only=True``.

    An exported folder with weights (``--format safetensors``) takes its place.

    Raises:
        UserError: if there is no such file, it is damaged, or another program wrote it.
    """
    require_local(path)  # as it was typed: a Path keeps one slash
    path = Path(path)
    if is_export(path):
        # it reads this module
        from captionlab.inference.export.manifest import read_exported_weights

        return read_exported_weights(path)
    stored = load_file(path)
    entry = portable_entry(stored.get(KEY), path)
    composed = rename_targets(entry["config"])
    config = resolve_references(composed, f"{path}: config")
    if entry["format"] == 1:
        from captionlab.config.override import known_references  # it imports Hydra

        composed = restore(config, known_references())
    weights = {
        current_weight(name.removeprefix(WEIGHTS_PREFIX), entry): tensor
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


def portable_entry(entry: object, path: Path) -> dict[str, Any]:
    """Return the portable part of a file: plain values, with the entries that are read of it.

    Raises:
        UserError: if it is something else, or of a format that this version does not read.
    """
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
    return entry


def current_weight(name: str, entry: Mapping[str, Any]) -> str:
    """Return this version's name of a captioner's weight in a file whose portable part is ``entry``."""
    if entry["format"] >= FORMAT:
        return name
    return renamed_weight(name, entry["config"]["model"]["decoder"].get("_target_"))


def _require_entries(entry: Mapping[str, object], path: Path) -> None:
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


def _epochs_done(stored: Mapping[str, object]) -> int:
    """Return how many epochs were finished: Lightning counts the current one from 0."""
    epoch = stored.get("epoch", 0)
    if type(epoch) is not int:
        return 0
    node: object = stored
    for name in ("loops", "fit_loop", "epoch_loop.batch_progress", "is_last_batch"):
        node = node.get(name) if isinstance(node, Mapping) else None
    return epoch + 1 if node is True else epoch
