"""The command ``captionlab``: train, inspect, extract, models, evaluate, predict, compare."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from captionlab import __version__
from captionlab.cli.ending import exit_with_own_status
from captionlab.cli.endpoint_options import (
    CommandParser,
    add_endpoint,
    endpoint_command,
    read_endpoint,
    require_endpoint_unused,
)
from captionlab.cli.hydra_main import debugging, explained_errors
from captionlab.cli.streams import prepare_streams, require_written
from captionlab.config.search_path import added, importable

# what argparse adds commands to, a class of its own without a public name
Commands = Any


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, with 2 for wrong input, with 1 for anything else."""
    prepare_streams()  # before the parser prints
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
        prog="captionlab", description="Train image captioners, score them, caption photos."
    )
    top.add_argument("--version", action="version", version=f"captionlab {__version__}")
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
    models = commands.add_parser(
        "models", help="list every preset: its parts, size, paper, published result"
    )
    models.set_defaults(run=_run_models)
    inspect, extract, compare = _inspect(commands), _extract(commands), _compare(commands)
    evaluate, predict = _evaluate(commands), _predict(commands)
    for command in (models, inspect, extract, evaluate, predict):
        _add_config_dir(command)
    for command in (evaluate, predict):
        _add_ensemble(command)
        add_endpoint(command, limit=command is evaluate)
    for command in (evaluate, predict, compare):
        _add_trust(command)
    return top


def _add_ensemble(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--with",
        nargs="+",
        default=[],
        dest="others",
        metavar="CKPT",
        help="more checkpoints of the same vocabulary, which write together with it (an ensemble)",
    )


def _add_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="NAME",
        help="classes of your own, or their package, that a file may name: my_package",
    )


def _add_config_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config-dir",
        action="append",
        metavar="FOLDER",
        help="YAML files of your own, in groups as in captionlab's conf; may be given again",
    )


# --- each command imports only what it needs, when it runs ------------------------------------------


def _run_models(options: argparse.Namespace) -> int:
    from captionlab.cli.models import models

    return models()


def _run_inspect(options: argparse.Namespace) -> int:
    from captionlab.cli.inspect import inspect

    return inspect(options.overrides, page=options.html)


def _run_extract(options: argparse.Namespace) -> int:
    from captionlab.cli.extract import extract

    return extract(options.overrides)


def _run_evaluate(options: argparse.Namespace) -> int:
    if options.endpoint is not None:
        with endpoint_command():
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
    )
    return 0


def _run_compare(options: argparse.Namespace) -> int:
    from captionlab.cli.compare import compare

    return compare(
        options.runs,
        by=options.by,
        over=options.over,
        page=options.html,
        table=options.csv,
        trust=options.trust,
    )


def _run_predict(options: argparse.Namespace) -> int:
    from captionlab.text.prompts import Prompt

    prompt = Prompt(options.ask, options.style, options.language, options.begin)
    if options.endpoint is not None:
        with endpoint_command():
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
    )


def _inspect(commands: Commands) -> argparse.ArgumentParser:
    inspect = commands.add_parser(
        "inspect",
        help="look at a data set before training",
        description="Say what is in a data set; the status is 2 where a score of it would be wrong.",
    )
    inspect.set_defaults(run=_run_inspect)
    inspect.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="data=auto data.root=FOLDER data.tokenizer.threshold=5 data.max_length=40",
    )
    inspect.add_argument("--html", metavar="FILE", help="write a page with the samples")
    return inspect


def _extract(commands: Commands) -> argparse.ArgumentParser:
    extract = commands.add_parser(
        "extract",
        help="store what an encoder sees, to train from it",
        description="Write the encoder's memory of every image; train from it with data.features=FOLDER.",
    )
    extract.set_defaults(run=_run_extract)
    extract.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="model/encoder=resnet101 data=coco data.root=PATH out=FOLDER dtype=float16 splits=train,val",
    )
    return extract


def _compare(commands: Commands) -> argparse.ArgumentParser:
    compare = commands.add_parser(
        "compare",
        help="put runs side by side",
        description="Print runs, the best one first, each against the best; write a page of them.",
    )
    compare.set_defaults(run=_run_compare)
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders of them")
    compare.add_argument(
        "--by", default="cider", metavar="SCORE", help="cider, truth, val/loss ... (cider)"
    )
    compare.add_argument(
        "--over",
        nargs="+",
        default=["seed"],
        metavar="KEY",
        help="settings in which the runs of a row may differ; mean and spread are over them (seed)",
    )
    compare.add_argument("--html", metavar="FILE", help="write a page: curves, cost, captions")
    compare.add_argument("--csv", metavar="FILE", help="write one line a run")
    return compare


def _evaluate(commands: Commands) -> argparse.ArgumentParser:
    evaluate = commands.add_parser(
        "evaluate",
        help="score a checkpoint on a split",
        description="Score a checkpoint on a split and write results.json, captions.json and gallery.html.",
    )
    evaluate.set_defaults(run=_run_evaluate)
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
    return evaluate


def _predict(commands: Commands) -> argparse.ArgumentParser:
    predict = commands.add_parser(
        "predict",
        help="caption photos",
        description="Caption photos and folders of photos; one line each, or JSON lines with --out.",
    )
    predict.set_defaults(run=_run_predict)
    predict.add_argument("checkpoint", metavar="CKPT", help="e.g. runs/.../checkpoints/best.ckpt")
    predict.add_argument("paths", nargs="+", metavar="PATH", help="image files and folders of them")
    predict.add_argument(
        "--out",
        metavar="FILE.jsonl",
        help="write {image, caption, score} lines here, with captions where several are asked for",
    )
    predict.add_argument("--batch-size", type=int, default=32, metavar="N")
    predict.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    predict.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="decoding=beam decoding.beam_size=5 decoding.num_captions=3 'decoding.forced_words=[dog]'",
    )
    asked = predict.add_argument_group(
        "what is asked of each photo", "Each as far as the captioner was trained on it."
    )
    asked.add_argument("--ask", default="", metavar="QUESTION", help='"what color is the ball?"')
    asked.add_argument("--style", default="", metavar="NAME", help="terse, or an author's name")
    asked.add_argument("--language", default="", metavar="CODE", help="en, zh ...")
    asked.add_argument(
        "--begin", default="", metavar="WORDS", help='"a photo of": go on from there'
    )
    return predict


if __name__ == "__main__":
    main()
