"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import Any

# help of CKPT where any form of a captioner will do
ANY_MODEL = "runs/.../checkpoints/best.ckpt, an exported folder, or hf://owner/name"
# what argparse adds commands to, a class of its own without a public name
Commands = Any


def add_ensemble(command: argparse.ArgumentParser) -> None:
    """Add ``--with``: more checkpoints that write together with the first."""
    command.add_argument(
        "--with",
        nargs="+",
        default=[],
        dest="others",
        metavar="CKPT",
        help="more checkpoints of the same vocabulary, which write together with it (an ensemble)",
    )


def add_trust(command: argparse.ArgumentParser) -> None:
    """Add ``--trust``: classes, or packages, that a file may name."""
    command.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="NAME",
        help="classes of your own, or their package, that a file may name: my_package",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    """Add ``--device``: where the captioner is."""
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")


def add_precision(command: argparse.ArgumentParser, usual: str) -> None:
    """Add ``--precision``; ``usual`` says what holds without it."""
    command.add_argument(
        "--precision",
        choices=("32", "bf16"),
        help=f"bf16: bfloat16 where it may be, quick on GPUs and CPUs that compute in it; {usual}",
    )


def add_decoding(command: argparse.ArgumentParser, text: str) -> None:
    """Add ``--set``: how captions are written; ``text`` is its help."""
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help=text)


# a parser or a group of one, a class of its own without a public name
def add_asked(command: Any) -> None:
    """Add what is asked of each photo: ``--ask``, ``--style``, ``--language``."""
    command.add_argument("--ask", default="", metavar="QUESTION", help='"what color is the ball?"')
    command.add_argument("--style", default="", metavar="NAME", help="terse, or an author's name")
    command.add_argument("--language", default="", metavar="CODE", help="en, zh ...")


def add_config_dir(command: argparse.ArgumentParser) -> None:
    """Add ``--config-dir``: YAML files of the user's own."""
    command.add_argument(
        "--config-dir",
        action="append",
        metavar="FOLDER",
        help="YAML files of your own, in groups as in captionlab's conf; may be given again",
    )
