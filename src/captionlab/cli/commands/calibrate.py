"""``captionlab calibrate``: how sure a checkpoint is of its captions."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    Commands,
    add_config_dir,
    add_device,
    add_trust,
)


def add(commands: Commands) -> None:
    """Add the command."""
    calibrate = commands.add_parser(
        "calibrate",
        help="measure how sure a checkpoint is, for predict --abstain",
        description="Fit each caption's chance of being right on val, report it on test, and write "
        "calibration.json beside the checkpoint.",
    )
    calibrate.set_defaults(run=_run)
    calibrate.add_argument("checkpoint", metavar="CKPT", help="e.g. runs/.../checkpoints/best.ckpt")
    calibrate.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="decoding=beam, split=test_unseen (what is reported), data.root=PATH",
    )
    calibrate.add_argument(
        "--correct",
        metavar="WHAT",
        help="what a right caption is: truth, exact, or a score with what it must reach, such as "
        "cider>=0.5 (default: truth where the data tell it, exact for answers, else cider>=0.5)",
    )
    calibrate.add_argument("--out", metavar="FILE.json", help="beside the checkpoint by default")
    add_device(calibrate)
    add_config_dir(calibrate)
    add_trust(calibrate)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.calibrate import calibrate

    calibrate(
        options.checkpoint,
        options.overrides,
        correct=options.correct,
        out=options.out,
        device=options.device,
        trust=options.trust,
    )
    return 0
