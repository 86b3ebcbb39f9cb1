"""``captionlab serve``: a captioner behind HTTP."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import (
    ANY_MODEL,
    Commands,
    add_config_dir,
    add_decoding,
    add_device,
    add_ensemble,
    add_trust,
)


def add(commands: Commands) -> None:
    """Add the command."""
    serve = commands.add_parser(
        "serve",
        help="serve a captioner over HTTP, with a page and OpenAI's chat completions",
        description="Serve a captioner over HTTP until Ctrl-C or SIGTERM: a page at /, POST /v1/caption, "
        "POST /v1/chat/completions, GET /metrics.",
    )
    serve.set_defaults(run=_run)
    serve.add_argument("checkpoint", metavar="CKPT", help=ANY_MODEL)
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for every address (127.0.0.1)")
    serve.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 for a free one (8000)"
    )
    add_device(serve)
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes with a captioner each (1)"
    )
    serve.add_argument("--name", default="", metavar="NAME", help="what answers call the model")
    add_decoding(
        serve,
        "how captions are written unless a request says it: decoding=beam decoding.beam_size=5",
    )
    serve.add_argument(
        "--abstain",
        type=float,
        default=0.3,
        metavar="CHANCE",
        help="the page says that it is not sure where the chance of a caption to be right is below this; "
        "captionlab calibrate CKPT comes first (0.3)",
    )
    _add_access(serve)
    _add_limits(serve)
    add_config_dir(serve)
    add_ensemble(serve)
    add_trust(serve)


def _add_access(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group("who may ask")
    group.add_argument(
        "--token-variable",
        metavar="NAME",
        help="environment variable that holds the token which requests must carry",
    )
    group.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that requests are addressed to, of a proxy before it; may be given again",
    )
    group.add_argument(
        "--allow-urls",
        action="store_true",
        help="fetch images from public addresses; never from private ones",
    )


def _add_limits(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group("limits")
    group.add_argument(
        "--max-bytes",
        type=int,
        default=25 * 2**20,
        metavar="N",
        help="of a request's images (25 MB)",
    )
    group.add_argument(
        "--max-pixels", type=int, default=50_000_000, metavar="N", help="of an image (50 million)"
    )
    group.add_argument(
        "--max-queue", type=int, default=128, metavar="N", help="images that wait; then 503 (128)"
    )
    group.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="of a request; then 504 (30)"
    )
    group.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="images decoded together (32)"
    )
    group.add_argument(
        "--batch-wait",
        type=float,
        default=0.005,
        metavar="SECONDS",
        help="that a batch waits for images which are being read (0.005)",
    )
    group.add_argument(
        "--drain",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="from SIGTERM on that /ready answers 503 before the port is closed (0)",
    )


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.serve import serve

    return serve(options)
