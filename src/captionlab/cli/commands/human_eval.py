"""``captionlab human-eval``: people compare systems' captions blind."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands
from captionlab.cli.page_options import add_address


def add(commands: Commands) -> None:
    """Add the command."""
    human_eval = commands.add_parser(
        "human-eval",
        help="let people compare captions of two or more systems blind",
        description=(
            "Open a page on which people say which of two captions of a picture is better, without "
            "knowing whose they are. With --results: win rates, Bradley-Terry strengths, agreement."
        ),
    )
    human_eval.set_defaults(run=_run)
    human_eval.add_argument(
        "systems", nargs="*", metavar="FILE",
        help="each system's captions: a run's captions.json, what predict wrote, a CSV; none goes on "
        "with the study in --store",
    )  # fmt: skip
    human_eval.add_argument("--images", metavar="FOLDER", help="the pictures")
    human_eval.add_argument("--store", metavar="FILE.sqlite", help="where answers are kept")
    human_eval.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="what results call the systems"
    )
    study = human_eval.add_argument_group("study", "Fixed when it begins.")
    study.add_argument("--limit", type=int, metavar="N", help="so many pictures, drawn by --seed")
    study.add_argument(
        "--repeat", type=float, default=0.1, metavar="SHARE",
        help="of a judge's pairs, shown again for consistency (0.1)",
    )  # fmt: skip
    study.add_argument(
        "--judges-per-pair", type=int, default=0, metavar="N",
        help="at most so many judge a pair; 0: everybody judges all (0)",
    )  # fmt: skip
    study.add_argument(
        "--ratings", action="store_true", help="ask for correctness and fluency from 1 to 5 too"
    )
    study.add_argument("--seed", type=int, default=0, metavar="N", help="of order and sides (0)")
    add_address(human_eval)
    results = human_eval.add_argument_group("results")
    results.add_argument(
        "--results", action="store_true", help="print what was judged, in place of the page"
    )
    results.add_argument(
        "--from", dest="judgments", metavar="FILE.csv", help="results of these judgments"
    )
    results.add_argument("--csv", metavar="FILE.csv", help="write the judgments, one a line")
    results.add_argument("--table", metavar="FILE", help="write the table: .csv, .md or .tex")


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.human_eval import human_eval

    return human_eval(options)
