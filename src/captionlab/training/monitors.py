"""Names of scores that a run waits for, compared with those it will log, before its first step."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from captionlab.core.config_types import Config
from captionlab.core.errors import UserError, did_you_mean
from captionlab.metrics.score_table import score_info
from captionlab.training.callbacks.validation import Collapse
from captionlab.training.module import CaptioningModule


def require_monitors(trainer: pl.Trainer, module: CaptioningModule, config: Config) -> None:
    """Check every name that a callback, a schedule or a logger monitors.

    Raises:
        UserError: for a name that will not be logged, with its key, the reason where one is known,
            and the nearest name.
    """
    validates = is_validated(trainer)
    names = module.logged_names(validates=validates)
    prefixes = tuple(f"train/{name}/" for name in module.objective.names)
    waited: set[str] = set()
    for key, name in _monitored(trainer, config):
        if name not in names and not name.startswith(prefixes):
            raise UserError(f"{key}={name}: {_reason(name, names, validates)}")
        waited.add(name)
    module.always_log(waited)
    if "val/meteor" in waited and trainer.is_global_zero:
        _require_meteor(module)


def is_validated(trainer: pl.Trainer) -> bool:
    """Return whether a run will validate at all."""
    return trainer.limit_val_batches != 0


def keep_last_as_best(trainer: pl.Trainer) -> bool:
    """Let checkpoints that wait for a validation keep the last weights where there is none.

    Returns whether there was such a one.
    """
    if is_validated(trainer):
        return False
    changed = False
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and str(callback.monitor).startswith("val/"):
            callback.monitor, callback._save_on_train_epoch_end = None, True
            changed = True
    return changed


def _monitored(trainer: pl.Trainer, config: Config) -> Iterator[tuple[str, str]]:
    """Yield the key and the name of everything that is monitored."""
    for name, node in (config["callbacks"] or {}).items():
        if not isinstance(node, dict) or not node.get("monitor"):
            continue
        key = f"callbacks.{name}.monitor"
        if node["_target_"].endswith(Collapse.__qualname__):
            yield from ((key, f"val/{one}") for one in node["monitor"])
        elif name not in _kept_as_last(trainer, config):
            yield key, str(node["monitor"])
    if (config["scheduler"] or {}).get("monitor"):
        yield "scheduler.monitor", str(config["scheduler"]["monitor"])
    for name, node in (config["logger"] or {}).items():
        # that of Weights & Biases follows the best checkpoint's, which was told before
        if isinstance(node, dict) and node.get("monitor") and is_validated(trainer):
            yield f"logger.{name}.monitor", str(node["monitor"])


def _kept_as_last(trainer: pl.Trainer, config: Config) -> set[str]:
    if is_validated(trainer):
        return set()
    return {
        name
        for name, node in (config["callbacks"] or {}).items()
        if isinstance(node, dict) and str(node.get("_target_")).endswith("ModelCheckpoint")
    }


def _reason(name: str, names: set[str], validates: bool) -> str:
    split, _, score = name.partition("/")
    if split == "val" and not validates:
        return "this run does not validate (trainer.limit_val_batches=0); leave the callback out"
    absence = score_info(score).absence
    if split == "val" and absence:
        return f"this run has no such score; {absence}"
    if split == "test":
        return f"test scores come after training; did you mean 'val/{score}'?"
    return f"no value of that name is logged; {did_you_mean(name, names)}"


def _require_meteor(module: CaptioningModule) -> None:
    """Try METEOR before hours are spent on a run that is judged by it."""
    meteor = module.evaluator.metrics.meteor
    if meteor is not None and meteor.score(["a dog runs"], [["a dog is running"]]) is None:
        raise UserError(
            f"val/meteor is monitored, and METEOR cannot be had here ({meteor.failure}): monitor "
            "val/cider, or mend it"
        )
