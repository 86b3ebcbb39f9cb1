"""What a drawn scene is, and how one is sampled.

Lengths are fractions of the picture's side; x grows to the right and y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random

RGB = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "diamond", "ring")
COLORS: dict[str, RGB] = {
    "red": (221, 38, 44),
    "orange": (250, 140, 14),
    "yellow": (250, 222, 40),
    "green": (34, 160, 62),
    "blue": (36, 92, 224),
    "purple": (130, 46, 168),
    "pink": (250, 130, 190),
    "white": (252, 252, 252),
    "black": (20, 20, 22),
}
# radius from, radius to: classes so far apart that the smallest of one is 1.3 x the largest before
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.106, 0.120),
    "medium": (0.156, 0.176),
    "large": (0.230, 0.258),
}
TEXTURES = ("solid", "striped", "dotted", "checkered")
BACKGROUNDS: dict[tuple[str, str], RGB] = {
    ("light", "gray"): (206, 208, 212),
    ("light", "blue"): (184, 214, 242),
    ("light", "green"): (192, 228, 188),
    ("light", "beige"): (238, 222, 192),
    ("dark", "gray"): (78, 82, 90),
    ("dark", "blue"): (24, 36, 84),
    ("dark", "green"): (20, 62, 46),
    ("dark", "brown"): (82, 54, 36),
}
SKY: RGB = (158, 208, 246)
GRASS: RGB = (132, 190, 92)
PATTERNS = ("plain", "gradient", "grainy", "meadow")

# one pair for each shape, so that every color and every shape is still seen in training
HELD_OUT = frozenset(
    {
        ("red", "ring"),
        ("orange", "cross"),
        ("yellow", "heart"),
        ("green", "star"),
        ("blue", "triangle"),
        ("purple", "square"),
        ("pink", "diamond"),
        ("white", "circle"),
    }
)

Kind = tuple[str, str]  # (color, shape)
ALL_KINDS: tuple[Kind, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
SEEN_KINDS: tuple[Kind, ...] = tuple(kind for kind in ALL_KINDS if kind not in HELD_OUT)
HELD_OUT_KINDS: tuple[Kind, ...] = tuple(sorted(HELD_OUT))
# in 64 pixels stripes and dots can be told apart on these sizes only
_ROOM_FOR_TEXTURE = {
    shape: ("medium", "large") if shape in ("circle", "square") else ("large",) for shape in SHAPES
}
CONTAINERS = ("circle", "square", "diamond", "ring")


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One drawn object; `radius` is half its extent, `angle` its tilt in radians.

    `tint` in [-1, 1] varies its color a little, `phase` in [0, 1) shifts and turns its texture.
    """

    shape: str
    color: str
    size: str
    texture: str
    x: float
    y: float
    radius: float
    angle: float
    tint: float
    phase: float


@dataclass(frozen=True, slots=True)
class Background:
    """What is behind the objects; a meadow has no tone and no color of its own.

    `turn` and `grain` in [0, 1) choose the gradient's direction and the piece of grain.
    """

    pattern: str
    tone: str
    color: str
    turn: float
    grain: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects, in the order in which they are painted, before a background."""

    objects: tuple[SceneObject, ...]
    background: Background


def _contrast(first: RGB, second: RGB) -> float:
    """Return the distance of two colors as "redmean" weighs it, 0 to about 765."""
    red = (first[0] + second[0]) / 2
    dr, dg, db = (a - b for a, b in zip(first, second, strict=True))
    return math.sqrt(
        (2 + red / 256) * dr * dr + 4 * dg * dg + (2 + (255 - red) / 256) * db * db,
    )


_GROUNDS: dict[str, frozenset[tuple[str, str]]] = {
    name: frozenset(key for key, rgb in BACKGROUNDS.items() if _contrast(color, rgb) > 205)
    for name, color in COLORS.items()
}
_MEADOW = frozenset(
    name for name, rgb in COLORS.items() if min(_contrast(rgb, SKY), _contrast(rgb, GRASS)) > 205
)


def sample_scene(rng: Random, *, unseen: bool = False) -> Scene:
    """Return a random scene of one to four objects that do not touch, unless one is inside another.

    `unseen` puts at least one held-out color-shape pair into it; otherwise there is none.
    """
    # drawn once: a count redrawn after every failure would favor the scenes that are easy to fill
    count = rng.choices((1, 2, 3, 4), (32, 40, 21, 7))[0]
    while True:
        kinds = _sample_kinds(rng, count, unseen)
        background = _sample_background(rng, {color for color, _ in kinds})
        if background is None:
            continue
        objects = _arrange(rng, kinds)
        if objects is not None:
            return Scene(objects, background)


def _sample_kinds(rng: Random, count: int, unseen: bool) -> list[Kind]:
    allowed = ALL_KINDS if unseen else SEEN_KINDS
    kinds: list[Kind] = []
    while len(kinds) < count:
        kind = rng.choice(allowed)
        if unseen and not kinds:
            kind = rng.choice(HELD_OUT_KINDS)
        elif kinds:
            # counting and "both are red" need objects that are alike
            alike = rng.random()
            color, shape = rng.choice(kinds)
            if alike < 0.18:
                kind = (color, shape)
            elif alike < 0.30:
                kind = (kind[0], shape)
            elif alike < 0.42:
                kind = (color, kind[1])
        if kind in allowed:
            kinds.append(kind)
    if unseen:
        rng.shuffle(kinds)
    return kinds


def _sample_background(rng: Random, colors: set[str]) -> Background | None:
    """Return a background that every color stands out from, None where there is none."""
    pattern = rng.choices(PATTERNS, (34, 28, 24, 14))[0]
    if pattern == "meadow" and colors <= _MEADOW:
        return Background("meadow", "", "", rng.random(), rng.random())
    grounds = [key for key in BACKGROUNDS if all(key in _GROUNDS[color] for color in colors)]
    if not grounds or pattern == "meadow":
        return None
    tone, color = rng.choice(grounds)
    return Background(pattern, tone, color, rng.random(), rng.random())


def _arrange(rng: Random, kinds: list[Kind]) -> tuple[SceneObject, ...] | None:
    """Return the objects at their places, None where this draw of sizes found no room."""
    if len(kinds) > 1 and rng.random() < 0.14:
        return _nested(rng, kinds)
    sizes = _sample_sizes(rng, len(kinds))
    radii = [rng.uniform(*SIZES[size]) for size in sizes]
    if len(kinds) in (2, 3) and rng.random() < 0.65:
        places = _in_line(rng, radii)
    else:
        places = _scattered(rng, radii)
    if places is None:
        return None
    objects: list[SceneObject] = []
    for kind, size, radius, place in zip(kinds, sizes, radii, places, strict=True):
        twin = next((t for t in objects if (t.color, t.shape) == kind), None)
        texture = twin.texture if twin and rng.random() < 0.7 else None
        objects.append(_object(rng, kind, size, radius, place, texture))
    return tuple(objects)


def _sample_sizes(rng: Random, count: int) -> list[str]:
    weights = {1: (20, 40, 40), 2: (26, 40, 34), 3: (34, 42, 24), 4: (55, 40, 5)}[count]
    return rng.choices(tuple(SIZES), weights, k=count)


def _object(
    rng: Random,
    kind: Kind,
    size: str,
    radius: float,
    place: tuple[float, float],
    texture: str | None,
) -> SceneObject:
    color, shape = kind
    if size not in _ROOM_FOR_TEXTURE[shape]:
        texture = "solid"
    elif texture is None:
        texture = rng.choices(TEXTURES, (52, 18, 17, 13))[0]
    tilt = 0.1 if shape in ("square", "diamond", "cross") else 0.2
    angle, tint = rng.uniform(-tilt, tilt), rng.uniform(-1, 1)
    return SceneObject(shape, color, size, texture, *place, radius, angle, tint, rng.random())


def _inside_frame(rng: Random, radius: float) -> float:
    return rng.uniform(radius + 0.02, 0.98 - radius)


def _apart(places: list[tuple[float, float]], radii: list[float]) -> bool:
    """Return whether the last place keeps its distance from all before."""
    (x, y), radius = places[-1], radii[len(places) - 1]
    return all(
        math.hypot(x - a, y - b) > 1.18 * (radius + other) + 0.015
        for (a, b), other in zip(places[:-1], radii, strict=False)
    )


def _scattered(rng: Random, radii: list[float]) -> list[tuple[float, float]] | None:
    places: list[tuple[float, float]] = []
    for radius in radii:
        for _ in range(12):
            places.append((_inside_frame(rng, radius), _inside_frame(rng, radius)))
            if _apart(places, radii):
                break
            places.pop()
        else:
            return None
    return places


def _in_line(rng: Random, radii: list[float]) -> list[tuple[float, float]] | None:
    """Return places in one row or one column, so that clear relations are frequent."""
    gaps = [1.18 * (a + b) + 0.015 for a, b in pairwise(radii)]
    spare = 1 - 0.04 - radii[0] - radii[-1] - sum(gaps)
    if spare < 0:
        return None
    shares = sorted(rng.uniform(0, spare) for _ in radii)
    along = [0.02 + radii[0] + shares[0]]
    for gap, before, after in zip(gaps, shares, shares[1:], strict=False):
        along.append(along[-1] + gap + after - before)
    widest = max(radii)
    middle = _inside_frame(rng, widest)
    across = [min(max(middle + rng.uniform(-0.04, 0.04), r + 0.02), 0.98 - r) for r in radii]
    points = list(zip(along, across, strict=True))
    if rng.random() < 0.4:
        points = [(x, y) for y, x in points]
    return points


def _nested(rng: Random, kinds: list[Kind]) -> tuple[SceneObject, ...] | None:
    """Return a small object painted inside a large one, and the others beside them."""
    outer, inner = kinds[0], kinds[1]
    if outer[1] not in CONTAINERS or _contrast(COLORS[outer[0]], COLORS[inner[0]]) < 205:
        return None
    sizes = ["large", *(rng.choice(("small", "medium")) for _ in kinds[2:])]
    radii = [rng.uniform(0.250, 0.258), *(rng.uniform(*SIZES[size]) for size in sizes[1:])]
    places = _scattered(rng, radii)
    if places is None:
        return None
    x, y = places[0]
    here = (x + rng.uniform(-0.012, 0.012), y + rng.uniform(-0.012, 0.012))
    container = _object(rng, outer, "large", radii[0], places[0], "solid")
    content = _object(rng, inner, "small", rng.uniform(0.106, 0.112), here, "solid")
    rest = [
        _object(rng, kind, size, radius, place, None)
        for kind, size, radius, place in zip(
            kinds[2:], sizes[1:], radii[1:], places[1:], strict=True
        )
    ]
    return (container, content, *rest)
