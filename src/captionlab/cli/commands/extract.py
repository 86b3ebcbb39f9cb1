"""``captionlab extract``: what an encoder sees, stored."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_config_dir


def add(commands: Commands) -> None:
    """Add the command."""
    extract = commands.add_parser(
        "extract",
        help="store what an encoder sees, to train from it",
        description="Write the encoder's memory of every image; train from it with data.features=FOLDER.",
    )
    extract.set_defaults(run=_run)
    extract.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="model/encoder=resnet101 data=coco data.root=PATH out=FOLDER dtype=float16 splits=train,val",
    )
    add_config_dir(extract)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.extract import extract

    return extract(options.overrides)
