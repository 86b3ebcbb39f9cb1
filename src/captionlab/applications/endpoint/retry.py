"""When a request is sent again, and how long that waits."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retry:
    """Waits that double, each drawn between its half and its whole; seconds.

    A server that names a wait (Retry-After) gets it, up to ``ceiling``.
    """

    tries: int = 6
    first: float = 1.0
    ceiling: float = 60.0

    def delay(self, failures: int, asked: float | None) -> float:
        """Return how long to wait after so many failures; ``asked``: by the server."""
        backoff = self.first * 2 ** (failures - 1) * random.uniform(0.5, 1.0)
        return min(self.ceiling, max(backoff, asked or 0.0))


class TemporaryError(Exception):
    """A failure that may pass, in words; ``asked``: seconds that the server wants to be left alone."""

    def __init__(self, reason: str, asked: float | None = None) -> None:
        super().__init__(reason)
        self.asked = asked


def is_temporary(status: int) -> bool:
    """Return whether the same request may succeed later."""
    return status in (408, 425, 429) or status >= 500


def read_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
            now = datetime.now(UTC)
            seconds = (then - (now if then.tzinfo else now.replace(tzinfo=None))).total_seconds()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)
