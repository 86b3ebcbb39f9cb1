"""Files changed at random: cut, flipped, spliced with what readers stumble over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from captionlab.core.errors import UserError

LONGEST = 10.0  # seconds that one input may take
SPLICES = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"'", b"\\", b"\t\t", b",,", b"|"),
    *(b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"true", b"[]", b"{}", b"[[", b"}}", b'""'),
    *(b"../../etc/passwd", b"/", b"\\ud800", b"#", b"#9", b"9" * 5000, b"x" * 300, b"[" * 3000),
    *("é".encode("latin-1"), "狗".encode("gb18030"), "狗\u2028\x85".encode(), b"nan", b"${x}"),
)


def changed(whole: bytes, seed: int) -> bytes:
    """Return the bytes with one to four changes, the same for the same seed."""
    draw = random.Random(seed)
    content = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(len(content) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            del content[place:]
        elif kind == 1 and content:
            content[min(place, len(content) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del content[place : place + draw.choice((1, 1, 5, 40))]
        elif kind == 3:
            start = draw.randrange(len(content) + 1)
            content[place:place] = content[start : start + draw.choice((1, 10, 80))]
        else:
            splice = draw.choice(SPLICES)
            content[place : place + draw.choice((0, 0, len(splice)))] = splice
    return bytes(content)


def cuts(whole: bytes, places: int = 50) -> list[bytes]:
    """Return the first part of the bytes, cut at so many places."""
    return [whole[: len(whole) * place // places] for place in range(places)]


def ends_well(read: Callable[[], object], folder: Path, what: object) -> bool:
    """Return whether ``read`` gave a result; a sentence in its place is well too.

    Fails where it ends in something else, takes too long, or leaves a file in ``folder``.
    """
    before = sorted(folder.rglob("*"))
    start = time.monotonic()
    try:
        read()
    except UserError as error:
        sentence = str(error)
        assert sentence.strip(), what
        assert "Traceback" not in sentence, what
        assert len(sentence) < 4_000, (what, sentence[:500])
        ended = False
    else:
        ended = True
    assert time.monotonic() - start < LONGEST, what
    assert sorted(folder.rglob("*")) == before, what
    return ended
