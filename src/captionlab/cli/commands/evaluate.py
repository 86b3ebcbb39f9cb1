"""``captionlab evaluate``: the scores of a checkpoint."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    Commands,
    add_config_dir,
    add_ensemble,
    add_precision,
    add_trust,
)
from captionlab.cli.endpoint_options import (
    add_endpoint,
    read_endpoint,
    require_endpoint_unused,
    require_httpx,
)


def add(commands: Commands) -> None:
    """Add the command."""
    evaluate = commands.add_parser(
        "evaluate",
        help="score a checkpoint on a split",
        description="Score a checkpoint on a split and write results.json, captions.json and gallery.html.",
    )
    evaluate.set_defaults(run=_run)
    evaluate.add_argument("checkpoint", metavar="CKPT", help="e.g. runs/.../checkpoints/best.ckpt")
    evaluate.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="split=val, data=flickr8k data.root=PATH, decoding=beam decoding.beam_size=5, trainer.devices=2",
    )
    evaluate.add_argument(
        "--out", metavar="FOLDER", help="where to write; beside the checkpoint by default"
    )
    add_precision(evaluate, "as in training by default")
    add_config_dir(evaluate)
    add_ensemble(evaluate)
    add_endpoint(evaluate, limit=True)
    add_trust(evaluate)


def _run(options: argparse.Namespace) -> int:
    if options.endpoint is not None:
        require_httpx()
        from captionlab.cli.evaluate_endpoint import evaluate_endpoint

        overrides = [*filter(None, [options.checkpoint]), *options.overrides]
        evaluate_endpoint(
            read_endpoint(options),
            overrides,
            prompt=options.prompt,
            out=options.out,
            limit=options.limit,
        )
        return 0
    require_endpoint_unused(options)
    from captionlab.cli.evaluate import evaluate

    evaluate(
        options.checkpoint,
        options.overrides,
        out=options.out,
        others=options.others,
        trust=options.trust,
        precision=options.precision,
    )
    return 0
