"""The command ``captionlab``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from captionlab import __version__
from captionlab.cli.commands import COMMANDS
from captionlab.cli.ending import exit_with_own_status
from captionlab.cli.endpoint_options import CommandParser
from captionlab.cli.mistakes import debugging, explained_errors
from captionlab.cli.processes import prepare_process
from captionlab.cli.streams import prepare_streams, require_written
from captionlab.config.search_path import added, importable


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, with 2 for wrong input, with 1 for anything else."""
    prepare_streams()  # before the parser prints
    prepare_process()
    debug = debugging()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["train"]:
        # a fresh process: Lightning starts its other processes by running this command line again
        command = [sys.executable, "-m", "captionlab.cli.hydra_main", *arguments[1:]]
        os.execv(sys.executable, command)  # noqa: S606 - this very Python
    options = parser().parse_args(arguments)
    with exit_with_own_status():
        # twice: a wrong folder is explained, and so is what is wrong while its choices are known
        with explained_errors(debug), own_parts(options), explained_errors(debug):
            status: int = options.run(options)
            require_written()
        sys.exit(status)


@contextmanager
def own_parts(options: argparse.Namespace) -> Iterator[None]:
    """Let a command find the YAML files, and import the classes, that its options name.

    This folder's modules can be imported only where the user trusts one: a command that is run among
    the files of a stranger must not take one of them for a library.
    """
    here = [Path.cwd()] if getattr(options, "trust", None) else []
    with added(getattr(options, "config_dir", None) or []), importable(*here):
        yield


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; ``run`` of what it parses is the command."""
    top = argparse.ArgumentParser(
        prog="captionlab",
        description="Train image captioners, score them, caption photos, and bring them to people.",
    )
    # its length gives the column of help room for the longest command
    top.add_argument("-V", "--version", action="version", version=f"captionlab {__version__}")
    top.add_argument(
        "--debug", action="store_true", help="show the traceback of an error (any command)"
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    commands.add_parser(
        "train",
        help="train a captioner (all arguments go to Hydra; captionlab train --help)",
        add_help=False,
    )
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    main()
