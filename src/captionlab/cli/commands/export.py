"""``captionlab export``: a folder that captions photographs elsewhere."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_trust


def add(commands: Commands) -> None:
    """Add the command."""
    export = commands.add_parser(
        "export",
        help="make a folder of a checkpoint that works elsewhere",
        description="Write a captioner as a folder: weights or graphs, tokenizer, settings, a model card.",
    )
    export.set_defaults(run=_run)
    export.add_argument("checkpoint", metavar="CKPT", help="e.g. runs/.../checkpoints/best.ckpt")
    export.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="a new folder (a new file with --format checkpoint)",
    )
    export.add_argument(
        "--format",
        default="onnx",
        choices=["onnx", "safetensors", "torch", "checkpoint"],
        help="ONNX graphs, weights alone, programs of torch.export, or a checkpoint again (onnx)",
    )
    precision = export.add_mutually_exclusive_group()
    precision.add_argument("--int8", action="store_true", help="quantize weights to 8 bits (onnx)")
    precision.add_argument("--fp16", action="store_true", help="16-bit weights (onnx, safetensors)")
    export.add_argument(
        "--calibration",
        metavar="FOLDER",
        help="photographs like those to be captioned, for --int8: convolutions are 8-bit then, too",
    )
    export.add_argument(
        "--merge",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add low-rank adapters to the weights beside them (done unless --no-merge)",
    )
    export.add_argument(
        "--license", metavar="TEXT", help="of the captioner, for its card: apache-2.0, cc-by-nc-4.0"
    )
    export.add_argument("--overwrite", action="store_true", help="replace an earlier export there")
    add_trust(export)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.export import export

    return export(
        options.checkpoint,
        options.out,
        format=options.format,
        precision="int8" if options.int8 else "float16" if options.fp16 else "float32",
        calibration=options.calibration,
        merge=options.merge,
        license=options.license,
        overwrite=options.overwrite,
        trust=options.trust,
    )
