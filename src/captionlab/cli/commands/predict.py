"""``captionlab predict``: captions of photographs."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    ANY_MODEL,
    Commands,
    add_asked,
    add_config_dir,
    add_decoding,
    add_device,
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
    predict = commands.add_parser(
        "predict",
        help="caption photos",
        description="Caption photos and folders of photos; one line each, or JSON lines with --out.",
    )
    predict.set_defaults(run=_run)
    predict.add_argument(
        "checkpoint",
        metavar="CKPT",
        help=ANY_MODEL,
    )
    predict.add_argument("paths", nargs="+", metavar="PATH", help="image files and folders of them")
    predict.add_argument(
        "--out",
        metavar="FILE.jsonl",
        help="write {image, caption, score} lines here, with captions where several are asked for",
    )
    predict.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="images captioned together (64)"
    )
    add_device(predict)
    add_precision(predict, "32 by default")
    add_decoding(
        predict,
        "decoding=beam decoding.beam_size=5 decoding.num_captions=3 'decoding.forced_words=[dog]'",
    )
    predict.add_argument(
        "--abstain",
        type=float,
        metavar="CHANCE",
        help='say "I am not sure" where the chance of a caption to be right is below this, from 0 to '
        "1; captionlab calibrate CKPT comes first",
    )
    asked = predict.add_argument_group(
        "what is asked of each photo", "Each as far as the captioner was trained on it."
    )
    add_asked(asked)
    asked.add_argument(
        "--begin", default="", metavar="WORDS", help='"a photo of": go on from there'
    )
    add_config_dir(predict)
    add_ensemble(predict)
    add_endpoint(predict, limit=False)
    add_trust(predict)


def _run(options: argparse.Namespace) -> int:
    from captionlab.text.prompts import Prompt

    prompt = Prompt(options.ask, options.style, options.language, options.begin)
    if options.endpoint is not None:
        require_httpx()
        from captionlab.cli.predict_endpoint import predict_endpoint

        paths = [*filter(None, [options.checkpoint]), *options.paths]
        return predict_endpoint(
            read_endpoint(options), paths, prompt, template=options.prompt, out=options.out
        )
    require_endpoint_unused(options)
    from captionlab.cli.predict import predict

    return predict(
        options.checkpoint,
        options.paths,
        out=options.out,
        batch_size=options.batch_size,
        device=options.device,
        overrides=options.set,
        others=options.others,
        trust=options.trust,
        prompt=prompt,
        abstain=options.abstain,
        precision=options.precision or "32",
    )
