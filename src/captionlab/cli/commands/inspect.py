"""``captionlab inspect``: what is in a data set."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_config_dir


def add(commands: Commands) -> None:
    """Add the command."""
    inspect = commands.add_parser(
        "inspect",
        help="look at a data set before training",
        description="Say what is in a data set; the status is 2 where a score of it would be wrong.",
    )
    inspect.set_defaults(run=_run)
    inspect.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="data=auto data.root=FOLDER data.tokenizer.threshold=5 data.max_length=40",
    )
    inspect.add_argument("--html", metavar="FILE", help="write a page with the samples")
    add_config_dir(inspect)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.inspect import inspect

    return inspect(options.overrides, page=options.html)
