"""``captionlab models``: the presets."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_config_dir


def add(commands: Commands) -> None:
    """Add the command."""
    models = commands.add_parser(
        "models", help="list every preset: its parts, size, paper, published result"
    )
    models.set_defaults(run=_run)
    add_config_dir(models)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.models import models

    return models()
