"""What a run goes on from: the checkpoint it resumes or starts with, and whether it fits."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.summary import differences, origin, summarize
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint

log = logging.getLogger("captionlab")

# where weights first came from no longer matters to a resumed run
ORIGINS = {
    (f"model.{part}", key)
    for part in ("encoder", "decoder")
    for key in ("weights", "embeddings", "architecture")
} | {
    # an objective knows its teachers by their weights, wherever their files lie
    (objective, "teacher")
    for objective in ("objective", "objective.first", "objective.then")
}
ORIGINS.add(("model.retrieval", "index"))  # made anew from the same training images


def starting_point(config: Config) -> Checkpoint | None:
    """Return the checkpoint that the run resumes or starts from, if any.

    Raises:
        UserError: if both are given, or a resumed run's model or tokenizer is not the one it had.
    """
    if config["ckpt"] and config["init_from"]:
        raise UserError(
            "ckpt and init_from are both given: ckpt goes on with a run, init_from starts a new one."
        )
    path = config["ckpt"] or config["init_from"]
    if not path:
        return None
    checkpoint = read_checkpoint(path)
    if config["ckpt"]:
        require_resumable(checkpoint)
        for part in ("model", "data.tokenizer", "objective", "optimizer", "callbacks.average"):
            require_same_settings(part, _at(checkpoint.config, part), _at(config, part), checkpoint)
        require_unfinished(checkpoint, config)
    return checkpoint


def require_unfinished(checkpoint: Checkpoint, config: Config) -> None:
    """Refuse to resume a run that has nothing left to do.

    Raises:
        UserError: if all epochs are trained and, where the run tests, its scores are written.
    """
    epochs = config["trainer"]["max_epochs"]
    if not epochs or not 0 < epochs <= checkpoint.epochs:
        return
    # a run that was stopped before its scores were written only has to be tested
    tested = (Path(config["ckpt"]).parent.parent / "results.json").exists()
    if epochs < checkpoint.epochs or tested or not config["test"]:
        raise UserError(
            f"ckpt={config['ckpt']} was trained for {checkpoint.epochs} epochs already: "
            f"raise trainer.max_epochs above {epochs} to go on."
        )


def require_resumable(checkpoint: Checkpoint) -> None:
    """Refuse to resume from a checkpoint that holds weights alone.

    Raises:
        UserError: naming the one that can be resumed, where it lies beside.
    """
    if checkpoint.resumable:
        return
    last = checkpoint.path.with_name("last.ckpt")
    other = f"ckpt={last} resumes the run, " if last.exists() else ""
    raise UserError(
        f"ckpt={checkpoint.path} holds weights alone, without what training goes on with: "
        f"{other}init_from={checkpoint.path} starts a new one from these weights"
    )


def _at(config: Config, key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        # callbacks may be null, and earlier versions knew no average
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def require_same_settings(key: str, before: Any, now: Any, checkpoint: Checkpoint) -> None:
    """Refuse to resume with another setting than the run began with, naming the first difference."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            if (key, name) in ORIGINS:
                continue
            require_same_settings(f"{key}.{name}", before.get(name), now.get(name), checkpoint)
    elif before != now and (before, now) != (None, False):  # a switch that it did not have is off
        previous = " ".join(shlex.quote(o) for o in checkpoint.overrides)
        raise UserError(
            f"ckpt={checkpoint.path} was trained with {key}={before}, this run has {key}={now}: "
            f"repeat its overrides ({previous or 'none'}), or use init_from= for a new run."
        )


def data_summary(config: Config, data: CaptionDataModule) -> MutableConfig:
    """Return what tells this run's data from other data: where they were read, a digest a split."""
    return {
        "name": data.name,
        "origin": origin(config["data"]),
        "splits": {split: summarize(data.records(split)) for split in data.fit_splits},
    }


def require_same_data(checkpoint: Checkpoint, read: Config, config: Config) -> None:
    """Refuse to resume with other data than the run began with, unless that is asked for.

    Raises:
        UserError: naming what differs, and both ways to go on.
    """
    before = checkpoint.data
    if before:
        differs = differences(before, read)
    else:  # written before checkpoints told their data: where these were read must do
        old, new = (origin(c["data"]) for c in (checkpoint.config, config))
        differs = [] if old == new else ["they were read elsewhere"]
    if not differs:
        return
    origins = f"{before.get('origin') or origin(checkpoint.config['data'])}, now {read['origin']}"
    what = f"ckpt={checkpoint.path} was trained on other data ({origins}: {'; '.join(differs)})"
    if config["allow_other_data"]:
        log.warning("warning: %s; it goes on with these, as allow_other_data=true says", what)
        return
    raise UserError(
        f"{what}: give the data it had, or say init_from= for a new run from its weights, or "
        "allow_other_data=true to go on with these on purpose."
    )
