"""Evaluate: score a checkpoint on any split of any data set, with any decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from captionlab.checkpoints import captioner_of, portable, read_checkpoint
from captionlab.commands.assemble import (
    build_module,
    build_trainer,
    check_devices,
)
from captionlab.commands.extract import check_features
from captionlab.commands.logs import quiet_lightning
from captionlab.commands.report import (
    named_by_split,
    print_examples,
    print_scores,
    write_json,
    write_scored,
)
from captionlab.configuration import build_data, override
from captionlab.data.datamodule import CaptionDataModule
from captionlab.inference import require_alike
from captionlab.metrics.bootstrap import intervals
from captionlab.signatures import check
from captionlab.training.examples import collect_examples, watched
from captionlab.training.gallery import write_gallery
from captionlab.training.ranks import together

GROUPS = ("data", "decoding", "trainer")
SETTINGS = ("meteor", "samples")
GALLERY_IMAGES = 200
SAMPLES = 5  # for checkpoints that are older than this setting


def evaluate(
    checkpoint: str,
    overrides: Sequence[str],
    *,
    out: str | None = None,
    others: Sequence[str] = (),
) -> int:
    """Score a checkpoint, print the table, write results.json and captions.json; return the status.

    Args:
        checkpoint: its path.
        overrides: ``split=val``, ``data=...``, ``data.root=...``, ``decoding=beam`` and the like.
        out: the folder to write; by default one named after data and split beside the checkpoints.
        others: more checkpoints, which write together with it (an ensemble).
    """
    quiet_lightning()
    stored = read_checkpoint(checkpoint)
    more = [read_checkpoint(path) for path in others]
    for other in more:
        require_alike(stored, other)
    split, rest = _take(overrides, "split", "test")
    config = override({"samples": SAMPLES, **stored.config}, rest, GROUPS, SETTINGS)
    check(
        {name: config[name] for name in ("model", "objective", "optimizer", "scheduler", *GROUPS)}
    )
    check_devices(config["trainer"])
    data: CaptionDataModule = build_data(config["data"])
    data.tokenizer = stored.tokenizer
    data.evaluation_split = split
    records = data.records(split)
    captioner, *members = (captioner_of(each) for each in (stored, *more))
    for each, member in zip((stored, *more), (captioner, *members), strict=True):
        check_features({**config, "model": each.config["model"]}, data, member.encoder)
    module = build_module(config, data, captioner, portable(config, stored.tokenizer), members)
    module.evaluation_split = split
    module.watched = watched(data.dataset(split), GALLERY_IMAGES)
    trainer = build_trainer({**config, "output_dir": "."}, loggers=[], callbacks=[])
    with together(trainer):
        trainer.test(module, datamodule=data, verbose=False)
    module.metrics.close()
    if not trainer.is_global_zero:
        return 0
    scores = module.scores[split]
    ensemble = "-ensemble" if others else ""
    beside = Path(checkpoint).resolve().parent.parent / f"{data.name}-{split}{ensemble}"
    folder = Path(out) if out else beside
    write_scored(folder, scores, records)
    results = {split: module.results[split]}
    certain = {split: intervals(scores.statistics)}
    write_json(
        folder / "results.json", {**named_by_split(results), "intervals": named_by_split(certain)}
    )
    examples = collect_examples(data.dataset(split), scores, GALLERY_IMAGES, module.looks)
    title = f"{data.name} {split}, {Path(checkpoint).name} after epoch {stored.epochs}"
    title += f", with {len(others)} more" if others else ""
    write_gallery(folder / "gallery.html", examples, title=title, summary=scores.corpus)
    print_scores(results, certain)
    print_examples(scores, {r.image_id: r.captions for r in records}, 10)
    print(f"written    {folder}")
    return 0


def _take(overrides: Sequence[str], key: str, default: str) -> tuple[str, list[str]]:
    """Return the value of ``key=value`` among overrides, and the others."""
    values = [o.partition("=")[2] for o in overrides if o.startswith(f"{key}=")]
    return (values or [default])[-1], [o for o in overrides if not o.startswith(f"{key}=")]
