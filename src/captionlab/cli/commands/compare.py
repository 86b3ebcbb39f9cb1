"""``captionlab compare``: runs side by side."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_trust


def add(commands: Commands) -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare",
        help="put runs side by side",
        description="Print runs, the best one first, each against the best; write a page of them.",
    )
    compare.set_defaults(run=_run)
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders of them")
    compare.add_argument(
        "--by", default="cider", metavar="SCORE", help="cider, truth, val/loss ... (cider)"
    )
    compare.add_argument(
        "--over",
        nargs="+",
        default=["seed"],
        metavar="KEY",
        help="settings in which the runs of a row may differ; mean and spread are over them (seed)",
    )
    compare.add_argument("--html", metavar="FILE", help="write a page: curves, cost, captions")
    compare.add_argument("--csv", metavar="FILE", help="write one line a run")
    add_trust(compare)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.compare import compare

    return compare(
        options.runs,
        by=options.by,
        over=options.over,
        page=options.html,
        table=options.csv,
        trust=options.trust,
    )
