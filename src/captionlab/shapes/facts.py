"""When a statement about drawn objects holds: the geometry that speaker and judge agree on.

`margin` 1 is what the grammar asks for before it states something; the judge asks for
`JUDGE` = 0.75 of it: nothing stated is near the line, and nothing nearly true is called false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from captionlab.shapes.scene import SceneObject

STATE = 1.0
JUDGE = 0.75
ATTRIBUTES = ("color", "shape", "size", "texture")


def left_of(a: SceneObject, b: SceneObject, margin: float = STATE) -> bool:
    """Return whether a is clearly left of b: by a fifth of the picture, and mainly to the side.

    The judge's cone is much wider: of two objects on a diagonal, nobody says "left of" first,
    and nobody calls it false.
    """
    return _ahead(b.x - a.x, a.y - b.y, margin)


def above(a: SceneObject, b: SceneObject, margin: float = STATE) -> bool:
    """Return whether a is clearly above b, as in `left_of`."""
    return _ahead(b.y - a.y, a.x - b.x, margin)


def _ahead(along: float, across: float, margin: float) -> bool:
    steepness = 1.2 if margin >= STATE else 0.5
    return along >= 0.2 * margin and along >= steepness * abs(across)


def inside(a: SceneObject, b: SceneObject, margin: float = STATE) -> bool:
    """Return whether a lies within b; sampled scenes hold no half-covered objects."""
    reach = math.hypot(a.x - b.x, a.y - b.y) + a.radius * (0.6 + 0.3 * margin)
    return b.radius > 1.5 * a.radius and reach <= b.radius


def beside(a: SceneObject, b: SceneObject, margin: float = STATE) -> bool:
    """Return whether a and b are neighbors in a row."""
    gap = math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius
    return gap <= 0.3 / margin and (left_of(a, b, margin) or left_of(b, a, margin))


def between(a: SceneObject, b: SceneObject, c: SceneObject, margin: float = STATE) -> bool:
    """Return whether a lies in the middle part of the way from b to c and near that line."""
    across, down = c.x - b.x, c.y - b.y
    way = math.hypot(across, down)
    if way < 0.4 * margin:
        return False
    along = ((a.x - b.x) * across + (a.y - b.y) * down) / way**2
    off = abs((a.x - b.x) * down - (a.y - b.y) * across) / way
    return abs(along - 0.5) <= 0.22 / margin and off <= 0.12 / margin


def larger(a: SceneObject, b: SceneObject, margin: float = STATE) -> bool:
    """Return whether a is clearly larger; sampled radii differ by below 1.15 or above 1.3."""
    return a.radius >= (1 + 0.25 * margin) * b.radius


RELATIONS: dict[str, Callable[[SceneObject, SceneObject, float], bool]] = {
    "left": left_of,
    "right": lambda a, b, margin: left_of(b, a, margin),
    "above": above,
    "below": lambda a, b, margin: above(b, a, margin),
    "inside": inside,
    "around": lambda a, b, margin: inside(b, a, margin),
    "beside": beside,
    "larger": larger,
    "smaller": lambda a, b, margin: larger(b, a, margin),
}
INVERSE = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "inside": "around",
    "around": "inside",
    "beside": "beside",
    "larger": "smaller",
    "smaller": "larger",
}


def at(obj: SceneObject, place: str, margin: float = STATE) -> bool:
    """Return whether an object is at "left", "right", "top", "bottom", "center" or "top left"."""
    if place == "center":
        return max(abs(obj.x - 0.5), abs(obj.y - 0.5)) <= 0.1 / margin
    offset = {
        "left": 0.5 - obj.x,
        "right": obj.x - 0.5,
        "top": 0.5 - obj.y,
        "bottom": obj.y - 0.5,
    }
    return all(offset[word] >= 0.17 * margin for word in place.split())


def extreme(
    which: str, objects: Sequence[SceneObject], margin: float = STATE
) -> SceneObject | None:
    """Return the "largest" or "smallest" of at least two objects, None where none is clearly so."""
    if len(objects) < 2:
        return None
    sign = -1 if which == "largest" else 1
    first, *others = sorted(objects, key=lambda obj: sign * obj.radius)
    compare = RELATIONS["larger" if which == "largest" else "smaller"]
    return first if all(compare(first, other, margin) for other in others) else None
