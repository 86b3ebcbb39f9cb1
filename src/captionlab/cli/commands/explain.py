"""``captionlab explain``: which parts of a photo the words of its caption rest on."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    ANY_MODEL,
    Commands,
    add_asked,
    add_config_dir,
    add_decoding,
    add_device,
    add_trust,
)


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add_parser(
        "explain",
        help="show which parts of a photo a caption's words rest on",
        description="Explain the words of captions by attention, occlusion and integrated gradients, "
        "with deletion and insertion curves, on one page that opens offline.",
    )
    explain.set_defaults(run=_run)
    explain.add_argument("checkpoint", metavar="CKPT", help=f"{ANY_MODEL} (no gradients of ONNX)")
    explain.add_argument("paths", nargs="+", metavar="PATH", help="image files and folders of them")
    explain.add_argument("--out", required=True, metavar="PAGE.html", help="the page to write")
    explain.add_argument(
        "--word",
        metavar="WORD|N",
        help="a word of the caption, or its number from 1 (default: each that says something)",
    )
    explain.add_argument(
        "--caption", metavar="TEXT", help="explain this caption in place of the model's own"
    )
    explain.add_argument(
        "--method",
        default="all",
        metavar="NAME",
        help="attention, occlusion, integrated_gradients (needs captionlab[explain]), or all (all)",
    )
    explain.add_argument("--masks", type=int, default=500, metavar="N", help="of occlusion (500)")
    explain.add_argument(
        "--steps", type=int, default=50, metavar="N", help="of integrated gradients (50)"
    )
    add_device(explain)
    add_decoding(
        explain,
        "decoding=beam and the like",
    )
    add_asked(explain)
    add_config_dir(explain)
    add_trust(explain)


def _run(options: argparse.Namespace) -> int:
    from captionlab.applications.explain.saliency import Settings
    from captionlab.cli.explain import explain
    from captionlab.text.prompts import Prompt

    return explain(
        options.checkpoint,
        options.paths,
        out=options.out,
        word=options.word,
        caption=options.caption,
        method=options.method,
        settings=Settings(masks=options.masks, steps=options.steps),
        device=options.device,
        overrides=options.set,
        trust=options.trust,
        prompt=Prompt(options.ask, options.style, options.language),
    )
