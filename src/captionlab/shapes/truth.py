"""Whether a caption is wholly true of a scene."""

from __future__ import annotations

from itertools import islice

from captionlab.shapes.judge import claims_hold
from captionlab.shapes.parse import LANGUAGES, parser
from captionlab.shapes.scene import Scene

# a caption that the grammar makes has a handful; only repetitive garbage has more
_MOST_PARSES = 500


def is_true(caption: str, scene: Scene, language: str | None = None) -> bool:
    """Return whether all that a caption says holds in the scene.

    The caption is read, not looked up: any sentence of the grammar's words and patterns is judged,
    whoever made it. "A" asks for one such object or more, "the" for exactly one, a number for
    exactly that many; noun phrases with "a" or a number stand for different objects. Where a
    sentence has two parses, one that holds is enough. Text that is not a whole sentence (empty,
    cut off, an unknown word, words out of order) claims nothing that can be checked and is False.

    Args:
        caption: the text.
        scene: what it is to describe.
        language: one of `parse.LANGUAGES`; by default any of them that can read the caption.
    """
    return any(
        claims_hold(claims, scene)
        for name in (LANGUAGES if language is None else (language,))
        for claims in islice(parser(name).parses(caption), _MOST_PARSES)
    )
