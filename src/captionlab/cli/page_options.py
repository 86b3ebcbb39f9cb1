"""Where the commands that open a page for people serve it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from captionlab.core.errors import UserError

if TYPE_CHECKING:
    from captionlab.applications.local_pages import Address

NEED = "pages need FastAPI and uvicorn: pip install 'captionlab[serve]'"


def add_address(command: argparse.ArgumentParser) -> None:
    """Add where a page is served, and who may open it."""
    address = command.add_argument_group("page")
    address.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for other machines too")
    address.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 for a free one (8000)"
    )
    address.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which browsers reach the page, of a proxy before it; may be given again",
    )
    address.add_argument(
        "--token-variable",
        metavar="NAME",
        help="environment variable that holds the token which browsers must know; one is made up where "
        "--host is open to other machines",
    )


def page_address(options: argparse.Namespace) -> Address:
    """Return the address that the options name.

    Raises:
        UserError: without the packages that serve pages, or the token.
    """
    from captionlab.cli.serve import read_token

    token = read_token(options.token_variable)
    try:
        from captionlab.applications.local_pages import Address
    except ImportError:
        raise UserError(NEED) from None
    return Address.with_token(options.host, options.port, options.allowed_host, token)
