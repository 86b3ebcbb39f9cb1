"""Every family's operations: rate, and time over the floor, over an earlier revision, over a rival.

    python benchmarks/families.py [--families updown,att2in_512] [--operations greedy,beam]
        [--images 10,50] [--against REV] [--json FILE] [--quick]

docs/guides/speed.md explains the table. Each cell is measured in turns: captionlab, its matrix products
alone, a large product, the rival, the other revision, and again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from measuring.cell import Cell, measure
from measuring.report import Table
from measuring.revision import against
from measuring.work import DECODING, FAMILIES, OPERATIONS, PHOTOS, Work

import captionlab
from captionlab.core.errors import UserError

QUICK = {
    "families": ["att2in_512", "updown", "transformer"],
    "operations": ["train", "greedy", "beam"],
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", type=_names(FAMILIES), help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--operations", type=_names(OPERATIONS), help=f"of {', '.join(OPERATIONS)}")
    parser.add_argument("--images", type=_numbers, help="10 (some decode 50 too); photos: 64")
    parser.add_argument("--captions", type=int, help="captions an image in training (5)")
    parser.add_argument("--cells", type=int, help="slots an image (196 or 36, by family)")
    parser.add_argument("--vocabulary", type=int, help="9487 (gpt2: its own)")
    parser.add_argument("--steps", type=int, help="longest caption (16)")
    parser.add_argument("--realistic", action="store_true", help="captions of 8 to 16 words")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15, help="most rounds a cell")
    parser.add_argument("--seconds", type=float, default=2.0, help="a cell, after 3 rounds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--set", action="append", default=[], help="an override: KEY=VALUE")
    parser.add_argument("--against", help="a revision, or a folder of the project")
    parser.add_argument("--no-rival", action="store_true")
    parser.add_argument("--no-floor", action="store_true")
    parser.add_argument("--json", type=Path, help="write all numbers into this file")
    parser.add_argument("--quick", action="store_true", help="a minute: fewer cells, 3 rounds")
    return parser


def _names(known: object) -> object:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:  # type: ignore[operator]
                raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(known)}")  # type: ignore[call-overload]
        return names

    return parse


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def planned(options: argparse.Namespace) -> list[Work]:
    """Return the cells in the order of the table."""
    sizes = {
        name: getattr(options, name)
        for name in ("captions", "cells", "vocabulary", "steps", "realistic")
    }
    sizes |= {name: getattr(options, name) for name in ("device", "dtype", "threads")}
    sizes["overrides"] = tuple(options.set)
    asked = options.operations or (QUICK["operations"] if options.quick else None)
    works = []
    for name in options.families or (QUICK["families"] if options.quick else FAMILIES):
        family = FAMILIES[name]
        for operation in asked or family.operations:
            usual = family.images if operation in DECODING and not options.quick else (10,)
            if operation not in PHOTOS:
                works += [
                    Work.of(name, operation, images=images, **sizes)
                    for images in options.images or usual
                ]
    photos = PHOTOS if asked is None and options.families is None else asked or ()
    images = options.images[0] if options.images else 64
    works += [
        Work.of("attn_lstm", operation, images=images, **sizes)
        for operation in PHOTOS
        if operation in photos
    ]
    return works


def main() -> None:
    options = arguments().parse_args()
    if options.quick:
        options.seconds, options.repeats = 0.5, 3
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    print(f"captionlab of {Path(captionlab.__file__).parent}, against {options.against}")
    table = Table(sys.stdout)
    cells: list[Cell] = []
    with ExitStack() as stack:
        other = stack.enter_context(against(options.against))
        for work in planned(options):
            try:
                cell = measure(
                    work,
                    other,
                    seconds=options.seconds,
                    rounds=options.repeats,
                    rival=not options.no_rival,
                    floor=not options.no_floor,
                )
            except (UserError, ImportError) as reason:  # gpt2 without transformers, say
                table.note(f"{work.family}, {work.operation}: {reason}")
                continue
            table.add(cell)
            cells.append(cell)
            if options.json is not None:
                _write(options.json, cells)
    print(f"\n{time.perf_counter() - start:.0f} s")


def _write(path: Path, cells: list[Cell]) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps([cell.to_dict() for cell in cells], indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
