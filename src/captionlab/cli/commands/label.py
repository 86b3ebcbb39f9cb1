"""``captionlab label``: people caption a folder of pictures, with a model's proposals."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    ANY_MODEL,
    Commands,
    add_config_dir,
    add_decoding,
    add_device,
    add_trust,
)
from captionlab.cli.page_options import add_address


def add(commands: Commands) -> None:
    """Add the command."""
    label = commands.add_parser(
        "label",
        help="let people caption a folder of pictures: a model proposes, they correct",
        description=(
            "Open a page on which people caption the pictures of a folder; all they do is kept in one "
            "SQLite file at once. Import captions into that file, or export them to train from."
        ),
    )
    label.set_defaults(run=_run)
    label.add_argument("folder", metavar="FOLDER", help="pictures, in any folders below it")
    label.add_argument("--model", metavar="CKPT", help=f"proposes captions: {ANY_MODEL}")
    label.add_argument(
        "--store",
        metavar="FILE.sqlite",
        help="where labels are kept; FOLDER/labels.sqlite by default",
    )
    add_decoding(
        label,
        "how the model writes: decoding=beam decoding.num_captions=3",
    )
    add_device(label)
    add_address(label)
    files = label.add_argument_group("files", "Done at once, without a page.")
    files.add_argument(
        "--import", dest="imported", metavar="FILE",
        help="take captions of JSON Lines, JSON or Label Studio's JSON into the store",
    )  # fmt: skip
    files.add_argument(
        "--import-as", choices=("captions", "proposals"), default="captions",
        help="whether imported captions are people's work or a model's proposals (captions)",
    )  # fmt: skip
    files.add_argument(
        "--export", metavar="WHAT",
        help="FILE.jsonl, FILE.json (COCO's form), sidecars, or labelstudio",
    )  # fmt: skip
    files.add_argument(
        "--overwrite", action="store_true", help="--export may take the place of what is there"
    )
    add_config_dir(label)
    add_trust(label)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.label import label

    return label(options)
