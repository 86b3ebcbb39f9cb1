"""The options by which a server of somebody else's model takes the place of a checkpoint."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from captionlab.core.errors import UserError

if TYPE_CHECKING:
    from captionlab.applications.endpoint.secret import Secret
    from captionlab.applications.endpoint.settings import Endpoint

# by their names among the parsed options; without --endpoint each would have no effect
ENDPOINT_OPTIONS = {
    "model": "--model",
    "prompt": "--prompt",
    "parameter": "--parameter",
    "max_side": "--max-side",
    "concurrency": "--concurrency",
    "timeout": "--timeout",
    "key_variable": "--key-variable",
    "send_key_unencrypted": "--send-key-unencrypted",
    "limit": "--limit",
}
# what is about a checkpoint: its option, and the value that it has when nobody gives it
CHECKPOINT_OPTIONS = {
    "others": ("--with", []),
    "set": ("--set", []),
    "batch_size": ("--batch-size", 64),
    "device": ("--device", "auto"),
    "precision": ("--precision", None),
    "abstain": ("--abstain", None),
}


class CommandParser(argparse.ArgumentParser):
    """A command's parser: where an endpoint is given, no checkpoint is looked for."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as ever, without the place of the checkpoint after ``--endpoint``."""
        if any(one == "--endpoint" or one.startswith("--endpoint=") for one in args or ()):
            for action in self._actions:
                if action.dest == "checkpoint":
                    action.nargs, action.required = argparse.SUPPRESS, False
        return super().parse_known_args(args, namespace)


def add_endpoint(command: argparse.ArgumentParser, *, limit: bool) -> None:
    """Add the options of an endpoint to a command; ``limit``: also that of how many images."""
    group = command.add_argument_group(
        "a server in place of CKPT",
        "any model behind an OpenAI-compatible server writes the captions",
    )
    group.add_argument(
        "--endpoint", metavar="URL", help="http://127.0.0.1:8000/v1, https://HOST/v1"
    )
    group.add_argument("--model", metavar="NAME", help="the model's name on that server")
    group.add_argument(
        "--prompt",
        metavar="TEXT",
        help="what it is asked about each picture; may hold {question}, {style}, {language}",
    )
    group.add_argument(
        "--parameter",
        action="append",
        metavar="KEY=VALUE",
        help="of generation, may be given again; null takes one out (temperature=0 max_tokens=128)",
    )
    group.add_argument(
        "--max-side", type=int, metavar="N", help="pixels of the long side, at most (1024)"
    )
    group.add_argument("--concurrency", type=int, metavar="N", help="requests at a time (4)")
    group.add_argument("--timeout", type=float, metavar="SECONDS", help="for one answer (120)")
    group.add_argument(
        "--key-variable",
        metavar="NAME",
        help="the environment variable that holds the key (OPENAI_API_KEY)",
    )
    group.add_argument(
        "--send-key-unencrypted",
        action="store_const",
        const=True,
        help="send the key over plain http to another machine, where everybody on the way reads it",
    )
    if limit:
        group.add_argument(
            "--limit", type=int, metavar="N", help="the first N images of the split, for a trial"
        )


def require_endpoint_unused(options: argparse.Namespace) -> None:
    """Check that no option of an endpoint is given to a checkpoint.

    Raises:
        UserError: for the first one that is.
    """
    for name, option in ENDPOINT_OPTIONS.items():
        if getattr(options, name, None) is not None:
            raise UserError(f"{option} is of a server: say --endpoint URL too, or leave it out")


def require_httpx() -> None:
    """Raise UserError if the package that sends requests is not installed."""
    if importlib.util.find_spec("httpx") is None:
        raise UserError("--endpoint needs httpx: pip install 'captionlab[endpoint]'")


def read_endpoint(options: argparse.Namespace) -> Endpoint:
    """Return the endpoint that parsed options describe.

    Raises:
        UserError: for an option that is missing, wrong, or about a checkpoint, and for a key that
            would be sent for everybody to read.
    """
    for name, (option, usual) in CHECKPOINT_OPTIONS.items():
        if getattr(options, name, usual) != usual:
            raise UserError(f"{option} is about a checkpoint, and --endpoint is a server's model")
    if getattr(options, "begin", ""):
        raise UserError(
            "--begin cannot be had of a server, which writes each caption from its first word: leave "
            "it out"
        )
    from captionlab.applications.endpoint.settings import Endpoint, read_parameters, read_url

    url = read_url(options.endpoint)
    if options.model is None:
        raise UserError("--endpoint needs --model NAME, the model's name on that server")
    return Endpoint(
        url=url,
        model=options.model,
        parameters=read_parameters(options.parameter or []),
        key=_key_for(url, options),
        max_side=1024 if options.max_side is None else options.max_side,
        concurrency=4 if options.concurrency is None else options.concurrency,
        timeout=120.0 if options.timeout is None else options.timeout,
    )


def _key_for(url: str, options: argparse.Namespace) -> Secret | None:
    """Return the key that is sent to an address, None for none.

    Over plain http to another machine a key goes only where that is asked for: one that merely
    stands in the environment stays here, one that was named is an error.
    """
    from captionlab.applications.endpoint.secret import DEFAULT_VARIABLE, read_secret
    from captionlab.applications.endpoint.settings import is_private

    key = read_secret(options.key_variable)
    if key is None or is_private(url) or options.send_key_unencrypted:
        return key
    way = "use https, or say --send-key-unencrypted where the network is yours"
    if options.key_variable is not None:
        raise UserError(f"{url} is plain http to another machine, and the key would be read: {way}")
    print(
        f"{DEFAULT_VARIABLE} is not sent to {url}, plain http to another machine: {way}",
        file=sys.stderr,
    )
    return None
