"""Build the object that a checked node of a configuration describes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.utils import instantiate

from captionlab.core.errors import UserError, first_line


def build_part(node: Any, key: str = "", **runtime: Any) -> Any:
    """Return the object that a checked node describes, plain containers inside.

    Args:
        node: a mapping with ``_target_``. key: where it stands, for the message.

    Raises:
        UserError: if the constructor refuses a value.
    """
    from hydra.errors import InstantiationException

    with refusals(key):
        try:
            return instantiate(node, _convert_="all", **runtime)
        except InstantiationException as error:
            cause: BaseException = error
            while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
                cause = cause.__cause__
            raise cause from None


@contextmanager
def refusals(key: str) -> Iterator[None]:
    """Give what a constructor says about a value the key under which the value stands."""
    try:
        yield
    except UserError as error:
        if not key or key in str(error):
            raise
        raise UserError(f"{key}: {error}") from error
    except (ValueError, RuntimeError) as error:
        # torch and Lightning answer impossible sizes and choices so; the values are the user's
        raise UserError(f"{key}: {first_line(error)}") from error
