"""Models: every preset with its parts, its size, its paper and the result it aims at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from captionlab.build import Sizes, build_captioner
from captionlab.config.compose import compose_run
from captionlab.config.folder import choices
from captionlab.config.resolve import resolve
from captionlab.inference.weights import without_downloads

PARTS = ("encoder", "decoder", "attention")
WORDS = 10_000  # the vocabulary that parameters are counted with: COCO's at threshold 5 has 9,487


@dataclass(frozen=True)
class Preset:
    """What ``captionlab models`` says of one preset; parameters in numbers of weights."""

    name: str
    encoder: str
    decoder: str
    attention: str
    encoder_parameters: int
    other_parameters: int
    paper: str
    published: str


def models() -> int:
    """Print the table of all presets; return the status."""
    # in a file or a pipe nothing says how wide the reader's window is
    console = Console() if sys.stdout.isatty() else Console(width=160)
    table = Table(
        title=f"model=NAME; parameters with random weights and a vocabulary of {WORDS:,}",
        title_justify="left",
    )
    for column in ("model", "encoder / decoder / attention"):
        table.add_column(column, no_wrap=column == "model")
    for column in ("encoder", "the rest"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("paper")
    table.add_column("published result that its recipe aims at")
    for preset in presets():
        table.add_row(
            preset.name,
            f"{preset.encoder} / {preset.decoder} / {preset.attention}",
            _millions(preset.encoder_parameters),
            _millions(preset.other_parameters),
            preset.paper,
            preset.published,
        )
    console.print(table)
    console.print("recipes: python train.py experiment=NAME (conf/experiment)", highlight=False)
    return 0


def presets() -> Iterator[Preset]:
    """Yield every preset of ``conf/model``, by name, those of added folders among them."""
    for name in choices("model"):
        yield describe(name)


def describe(name: str) -> Preset:
    """Return what is to be said of one preset; it is built without memory for its weights."""
    composed = compose_run([f"model={name}", "output_dir=unused"])
    model = resolve(composed.config)["model"]
    with torch.device("meta"):
        captioner = build_captioner(without_downloads(model), Sizes(WORDS, pad_id=0))
    encoder = count(captioner.encoder)
    return Preset(
        name=name,
        **{part: str(composed.choices[f"model/{part}"]) for part in PARTS},
        encoder_parameters=encoder,
        other_parameters=count(captioner) - encoder,
        paper=model.get("paper") or "",
        published=model.get("published") or "",
    )


def count(module: nn.Module) -> int:
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f} M"
