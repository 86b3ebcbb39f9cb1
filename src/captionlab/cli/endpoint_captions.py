"""Pictures shown to a server, with a bar, and with what people must know of it on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from captionlab.applications.endpoint.cache import AnswerCache
from captionlab.applications.endpoint.captions import Outcome, Request, Tally, caption_pictures
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.cli.progress import progress
from captionlab.core.caches import cache_folder
from captionlab.core.errors import UserError


def caption_all(
    endpoint: Endpoint,
    names: Sequence[object],
    requests: Sequence[Request],
    take: Callable[[int, str | None], bool],
    *,
    what: str = "images",
) -> tuple[Tally, list[str]]:
    """Send requests; return how many were sent and known, and why some have no caption.

    Ctrl-C ends the program with status 1, after a line that says what is kept.

    Args:
        endpoint: who is asked. names: of what is asked about. what: these are called.
        take: called with place and caption of each request in order, None for no caption; False
            ends the work.
    """
    cache = AnswerCache(cache_folder())
    missing: list[str] = []
    done = 0
    with progress("captioning", len(requests)) as advance:

        def hand_on(number: int, outcome: Outcome) -> bool:
            nonlocal done
            done += 1
            advance(1)
            if isinstance(outcome, UserError):
                missing.append(_named(names[number], outcome))
            return take(number, None if isinstance(outcome, UserError) else outcome)

        try:
            tally = caption_pictures(endpoint, requests, cache, hand_on, on_wait=note)
        except KeyboardInterrupt:
            note(
                f"{done:,} of {len(requests):,} {what} are done; what was answered is kept in "
                f"{cache.folder}, and the same command goes on from there",
                "interrupted",
            )
            raise SystemExit(1) from None
        finally:
            if cache.ignored:
                first, number = cache.ignored[0], len(set(cache.ignored))
                note(f"{number:,} kept answers could not be used, and are asked for: {first}")
    return tally, missing


def note(sentence: str, kind: str = "note") -> None:
    """Print a sentence about the work on stderr."""
    print(f"{kind}: {sentence}", file=sys.stderr, flush=True)


def _named(name: object, error: UserError) -> str:
    """Return why a picture has no caption, in a sentence that begins with its name."""
    sentence = str(error)
    return sentence if sentence.startswith(str(name)) else f"{name}: {sentence}"
