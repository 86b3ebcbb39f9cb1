"""Whether a caption, in English or Chinese, is wholly true of a scene."""

from __future__ import annotations

import re
from itertools import islice

from captionlab.shapes.judge import claims_hold
from captionlab.shapes.read_chinese import read_chinese
from captionlab.shapes.read_english import read_english
from captionlab.shapes.scene import Scene

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
# a caption that the grammar makes has a handful; only repetitive garbage has more
_MOST_READINGS = 500


def is_true(caption: str, scene: Scene) -> bool:
    """Return whether all that a caption says holds in the scene.

    The caption is read, not looked up: any sentence of the grammar's words and patterns is judged,
    whoever made it. "A" asks for one such object or more, "the" for exactly one, a number for
    exactly that many; noun phrases with "a" or a number stand for different objects. Where a
    sentence has two readings, one that holds is enough. Text that is not a whole sentence (empty,
    cut off, an unknown word, words out of order) claims nothing that can be checked and is False.
    """
    read = read_chinese if _CHINESE.search(caption) else read_english
    return any(claims_hold(claims, scene) for claims in islice(read(caption), _MOST_READINGS))
