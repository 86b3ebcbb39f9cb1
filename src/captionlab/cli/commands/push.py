"""``captionlab push``: a captioner on Hugging Face's hub."""

from __future__ import annotations

import argparse

from captionlab.cli.commands.options import Commands, add_trust


def add(commands: Commands) -> None:
    """Add the command."""
    push = commands.add_parser(
        "push",
        help="share a captioner on Hugging Face's hub",
        description="Send an exported folder, or a checkpoint as safetensors, to Hugging Face's hub. "
        "Log in first: hf auth login.",
    )
    push.set_defaults(run=_run)
    push.add_argument(
        "source", metavar="CKPT", help="best.ckpt, or an exported folder of onnx or safetensors"
    )
    push.add_argument("repository", metavar="OWNER/NAME", help="made where there is none")
    push.add_argument("--private", action="store_true", help="only its owner sees it")
    push.add_argument("--license", metavar="TEXT", help="of a checkpoint's captioner, for its card")
    add_trust(push)


def _run(options: argparse.Namespace) -> int:
    from captionlab.cli.push import push

    return push(
        options.source,
        options.repository,
        private=options.private,
        license=options.license,
        trust=options.trust,
    )
