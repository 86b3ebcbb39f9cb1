"""Serve: the options become settings, and the server is started."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys

from captionlab.core.errors import UserError

PACKAGES = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
SHORTEST_TOKEN = 16  # characters: fewer can be tried one after another


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status.

    Raises:
        UserError: if a package is missing, an option is wrong, or the captioner cannot be loaded.
    """
    require_packages()
    from captionlab.applications.serve.server import Source, require_paths
    from captionlab.applications.serve.server import serve as run
    from captionlab.applications.serve.settings import ServeSettings
    from captionlab.cli.predict import choose_device

    settings = ServeSettings(
        host=options.host,
        port=options.port,
        workers=options.workers,
        token=read_token(options.token_variable),
        allowed_hosts=tuple(options.allowed_host),
        allow_urls=options.allow_urls,
        model_id=options.name,
        max_bytes=options.max_bytes,
        max_pixels=options.max_pixels,
        max_queue=options.max_queue,
        timeout=options.timeout,
        batch_size=options.batch_size,
        batch_wait=options.batch_wait,
        drain=options.drain,
        abstain=options.abstain,
    )
    if settings.is_open:
        print(
            f"note: whoever reaches {settings.host} can use this server; --token-variable NAME asks for a "
            "token",
            file=sys.stderr,
        )
    source = Source(
        require_paths([options.checkpoint, *options.others]),
        choose_device(options.device),
        tuple(options.set),
        tuple(options.trust),
    )
    return run(source, settings)


def require_packages() -> None:
    """Raise UserError unless what a server needs is installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"captionlab serve needs {', '.join(missing)}: pip install 'captionlab[serve]'"
        )


def read_token(variable: str | None) -> str | None:
    """Return the token that a variable of the environment holds, None where none is asked for.

    No message quotes the value, nor the name: who mistakes the option gives the token itself there.

    Raises:
        UserError: if there is none, or it cannot be one.
    """
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip() if re.fullmatch(r"\w+", variable) else ""
    if not token:
        raise UserError(
            "--token-variable wants the name of an environment variable that holds the token, such as "
            "CAPTIONLAB_TOKEN, and never the token; there is no such variable, or it is empty"
        )
    if not re.fullmatch(r"[!-~]+", token) or len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"the variable of --token-variable holds no token: it takes {SHORTEST_TOKEN} characters or "
            "more, ASCII without blanks; python -c 'import secrets; print(secrets.token_urlsafe())' "
            "makes one"
        )
    return token
