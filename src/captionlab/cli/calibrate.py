"""Calibrate: how sure a checkpoint is of its captions, fitted on val and reported on test."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from captionlab.cli.auto_features import auto_features
from captionlab.cli.evaluate import configure, note_unasked, open_data, take
from captionlab.cli.extract import check_features
from captionlab.cli.logs import quiet_lightning
from captionlab.cli.predict import choose_device
from captionlab.config.instantiate import build_part
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.files import file_sha256, require_file_place
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.summary import origin, summarize
from captionlab.decoding.captions import Decoding
from captionlab.evaluation.confidence import (
    Criterion,
    JudgedCaptions,
    abstention_table,
    reliability_report,
    write_captions,
)
from captionlab.evaluation.score import score_records
from captionlab.inference.calibrated import calibration_path
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.metrics.calibration import Calibration
from captionlab.metrics.own_scores import OwnScores
from captionlab.models.captioner import Captioner
from captionlab.training.retrieval import retrieve

FITTED_ON = "val"
PROXY = Criterion("cider", 0.5)  # where nothing tells what is true


def calibrate(
    checkpoint: str,
    overrides: Sequence[str],
    *,
    correct: str | None = None,
    out: str | None = None,
    device: str = "auto",
    trust: Sequence[str] = (),
) -> Calibration:
    """Fit how sure a checkpoint is on val, report it on test, write calibration.json; return it.

    Args:
        checkpoint: its path.
        overrides: as of ``captionlab evaluate``; ``split=`` is what is reported.
        correct: what a right caption is, as ``Criterion.parse`` reads it; None chooses truth where
            the data tell it, exact match for answers, and else a likeness to references.
        out: the file to write; calibration.json beside the checkpoint by default.
        trust: classes, or packages of your own, that the checkpoint may name beside captionlab's.

    Raises:
        UserError: as ``captionlab evaluate``, and if the data have no such score or no val.
    """
    chosen = None if correct is None else Criterion.parse(correct)
    split, rest = take(overrides, "split", "test")
    stored = read_checkpoint(checkpoint)
    path = _place(checkpoint, out)
    config = _configure(stored, rest, split, trust)
    splits = (FITTED_ON, split)
    data, criterion, judged = judge(stored, config, splits, chosen, device=device, trust=trust)
    fitted = Calibration.fit(
        judged[FITTED_ON].log_probs, judged[FITTED_ON].lengths, judged[FITTED_ON].right
    )
    report = reliability_report(fitted, judged[split])
    calibration = replace(
        fitted,
        right=str(criterion),
        # a folder's calibration is whatever lies in it
        checkpoint_sha256=file_sha256(checkpoint) if Path(checkpoint).is_file() else "",
        ece=report["ece"],
        facts={
            "proxy": criterion.is_proxy,
            "data": {"name": data.name, "origin": origin(config["data"]), "split": split}
            | {name: summarize(data.records(name)) for name in splits},
            "decoding": dict(config["decoding"]),
            "report": report,
            "abstention": abstention_table(fitted, judged[split]),
        },
    )
    calibration.write(path)
    _print(calibration, split, path)
    return calibration


def _place(checkpoint: str, out: str | None) -> Path:
    """Return the file to write; UserError where it may not be written."""
    if Path(checkpoint).is_dir() and not out:
        raise UserError(
            f"{checkpoint} is an exported folder, which lists its files and may not change: calibrate its "
            "checkpoint and export that again, or say --out FILE.json"
        )
    path = require_file_place(out, "--out ") if out else calibration_path(checkpoint)
    if path.exists() and path.samefile(checkpoint):
        raise UserError(f"--out {out} is the checkpoint itself: name another file")
    return path


def judge(
    stored: Checkpoint,
    config: Config,
    splits: Sequence[str],
    criterion: Criterion | None = None,
    *,
    device: str = "auto",
    trust: Sequence[str] = (),
) -> tuple[CaptionDataModule, Criterion, dict[str, JudgedCaptions]]:
    """Return the data of a configuration, what is right there, and the judged captions of splits.

    ``criterion``: None chooses one. Raises UserError as ``calibrate``.
    """
    quiet_lightning()
    data = open_data(config["data"], stored, splits[-1])
    if FITTED_ON not in data.source.splits:
        raise UserError(
            f"{data.name} has no split val, which a calibration is fitted on: "
            f"{did_you_mean(FITTED_ON, data.source.splits)}"
        )
    place = choose_device(device)
    captioner = captioner_of(stored, trust).to(place)
    own = {**config, "model": stored.config["model"]}
    check_features(own, data, captioner.encoder)
    decoding: Decoding = build_part(config["decoding"], "decoding")
    with auto_features(own, data, captioner.encoder, place) as read:
        read(list(splits), ())
        retrieve(captioner, data, splits, torch.device(place))
        note_unasked(data, splits[-1], str(stored.path))
        chosen = criterion or default_criterion(data)
        judged = {
            split: judge_split(captioner, data, split, decoding, chosen, place) for split in splits
        }
    return data, chosen, judged


def default_criterion(data: CaptionDataModule) -> Criterion:
    """Return what a right caption of these data is: true, an equal answer, or like the references."""
    if data.truth is not None:
        return Criterion("truth")
    return Criterion("exact_match") if data.tokenizer.answers else PROXY


def judge_split(
    captioner: Captioner,
    data: CaptionDataModule,
    split: str,
    decoding: Decoding,
    criterion: Criterion,
    device: str,
) -> JudgedCaptions:
    """Return the captions that a captioner writes of a split, judged."""
    written = write_captions(
        captioner,
        data.whole_dataloader(split),
        decoding=decoding,
        tokenizer=data.tokenizer,
        device=device,
    )
    records = data.scored_records(split)
    scores = score_records(
        records,
        {image_id: one.text for image_id, one in written.items()},
        language=data.source.language,
        meteor=False,
        truth=data.truth,
        prompts={record.image_id: data.prompt(record.image_id) for record in records},
        own=OwnScores.of(data.score_names, data.caption_scores),
    )
    return JudgedCaptions.of(written, criterion.judge(scores.per_image))


def _configure(
    stored: Checkpoint, overrides: Sequence[str], split: str, trust: Sequence[str]
) -> Config:
    if split == FITTED_ON:
        raise UserError(
            "split=val: a calibration is fitted on val, and would look too good there; "
            "say split=test, or another one"
        )
    for text in overrides:
        if text.lstrip("+").startswith(("trainer.", "trainer=")):
            raise UserError(f"{text}: calibrate uses one device and no trainer; say --device cpu")
    return configure(stored, overrides, trust)


def _print(calibration: Calibration, split: str, path: Path) -> None:
    report: Mapping[str, float] = calibration.facts["report"]
    proxy = " (a proxy: likeness to references, no truth)" if calibration.facts["proxy"] else ""
    print(f"right      {calibration.right}{proxy}")
    print(
        f"chance     {calibration.feature}, temperature {calibration.temperature:.3g}, bias "
        f"{calibration.bias:.3g}, {calibration.length_weight:.3g} a token; fitted on val"
    )
    print(f"{split:<10} {report['captions']:,} captions, {report['right']:.1%} right")
    table = Table()
    for name in ("", "caption's probability", "its words' mean", "calibrated"):
        table.add_column(name, justify="right" if name else "left")
    for title, key in (("expected calibration error", "ece"), ("Brier score", "brier")):
        row = (report[f"{key}_caption"], report[f"{key}_words"], report[key])
        table.add_row(title, *(f"{value:.3f}" for value in row))
    Console().print(table)
    print(
        f"AURC       {report['aurc']:.3f} (by chance {report['aurc_random']:.3f}, at best "
        f"{report['aurc_perfect']:.3f})"
    )
    for row in calibration.facts["abstention"]:
        right = "nothing" if row["right"] is None else f"{row['right']:.1%} of them right"
        print(f"--abstain {row['abstain']:g}: {row['answered']:.1%} answered, {right}")
    print(f"written    {path}")
    sys.stdout.flush()
