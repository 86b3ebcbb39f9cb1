"""The pictures of a data set: which are broken, which are the same, which are nearly the same."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from captionlab.core.errors import UserError
from captionlab.data.images.files import broken_reason, to_rgb, upright
from captionlab.data.images.packed import PackedImage

logger = logging.getLogger(__name__)

Picture = Path | PackedImage
BANDS = 4  # of 16 bits: two hashes that differ in fewer bits than this have one in common
MOST_BITS = BANDS - 1
MOST_COLOR = 24  # of 255: how far the colors of near duplicates may lie apart
FEWEST_EDGES = 6  # bits of a hash that a picture with something on it has set, and unset
MOST_IN_BUCKET = 2000
SECONDS_BETWEEN_NOTES = 10.0


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """One picture: a digest of its bytes, its size in pixels, what it looks like; or why not.

    ``edges``: the difference hash of 64 bits; ``colors``: (4,4,3) uint8, its mean colors.
    """

    digest: bytes = b""
    width: int = 0
    height: int = 0
    edges: int = 0
    colors: np.ndarray | None = None
    broken: str | None = None


def describe_all(pictures: Sequence[Picture]) -> list[PictureFacts]:
    """Return the facts of each picture, read on all cores; the log says how far it is."""
    facts: list[PictureFacts] = []
    noted = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for one in pool.map(describe, pictures):
            facts.append(one)
            if time.monotonic() - noted > SECONDS_BETWEEN_NOTES:
                noted = time.monotonic()
                logger.info("reading pictures: %d of %d", len(facts), len(pictures))
    return facts


def describe(picture: Picture) -> PictureFacts:
    """Return the facts of one picture; ``broken`` where it cannot be decoded.

    The difference hash compares each pixel of a 9 x 8 gray copy with its neighbor (Krawetz, "Kind of
    Like That", 2013); a JPEG is decoded at an eighth.
    """
    try:
        data = picture.read() if isinstance(picture, PackedImage) else picture.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
            image.draft("RGB", (36, 36))
            image.load()
            rgb = to_rgb(upright(image))
            gray = np.asarray(rgb.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
            colors = np.asarray(rgb.resize((4, 4), Image.Resampling.BOX))
    except UserError:
        raise
    # on a damaged file Pillow's plugins raise almost anything
    except Exception as error:
        return PictureFacts(broken=broken_reason(picture) or f"is damaged: {error}")
    bits = (gray[:, 1:] > gray[:, :-1] + 2).reshape(-1)
    edges = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return PictureFacts(hashlib.sha256(data).digest(), *size, edges, colors)


def equal_groups(facts: Sequence[PictureFacts]) -> list[list[int]]:
    """Return the places of pictures of equal content, two or more in each group."""
    by_digest: dict[bytes, list[int]] = {}
    for place, one in enumerate(facts):
        if one.broken is None:
            by_digest.setdefault(one.digest, []).append(place)
    return [places for places in by_digest.values() if len(places) > 1]


def near_pairs(facts: Sequence[PictureFacts]) -> list[tuple[int, int]]:
    """Return pairs of places of pictures that look alike though their bytes differ.

    Their difference hashes differ in at most MOST_BITS, and no mean color by more than MOST_COLOR.
    Pictures without edges, such as those of one color, are alike in nothing and left out.
    """
    places = [place for place, one in enumerate(facts) if _has_edges(one)]
    hashes = np.array([facts[place].edges for place in places], np.uint64)
    near: set[tuple[int, int]] = set()
    for band in range(BANDS):
        keys = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1.0))
        for bucket in np.split(order, starts[1:]) if len(order) else ():
            near.update(_near_in(bucket[:MOST_IN_BUCKET], hashes))
    pairs = ((places[a], places[b]) for a, b in sorted(near))
    return [(a, b) for a, b in pairs if _differ_in_bytes_alone(facts[a], facts[b])]


def _has_edges(one: PictureFacts) -> bool:
    return one.broken is None and FEWEST_EDGES <= one.edges.bit_count() <= 64 - FEWEST_EDGES


def _near_in(bucket: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    if len(bucket) < 2:
        return
    own = hashes[bucket]
    bits = np.bitwise_count(own[:, None] ^ own[None, :])
    for a, b in np.argwhere(np.triu(bits <= MOST_BITS, 1)):
        first, second = sorted((int(bucket[a]), int(bucket[b])))
        yield first, second


def _differ_in_bytes_alone(one: PictureFacts, other: PictureFacts) -> bool:
    assert one.colors is not None
    assert other.colors is not None
    distance = np.abs(one.colors.astype(np.int16) - other.colors).max()
    return one.digest != other.digest and bool(distance <= MOST_COLOR)


def sizes(facts: Iterable[PictureFacts]) -> tuple[PictureFacts, PictureFacts] | None:
    """Return the smallest and the largest picture by area; None where none can be read."""
    sound = [one for one in facts if one.broken is None]
    if not sound:
        return None
    return (
        min(sound, key=lambda one: one.width * one.height),
        max(sound, key=lambda one: one.width * one.height),
    )
