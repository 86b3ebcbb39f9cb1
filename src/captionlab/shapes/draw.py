"""Drawing a scene with numpy: signed distances on each object's own box, antialiased at any size.

Legend: u, v are coordinates inside an object, from -1 to 1 across its extent, v downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from captionlab.core.errors import UserError
from captionlab.shapes.scene import BACKGROUNDS, COLORS, GRASS, SKY, Background, Scene, SceneObject

LEAST_SIZE = 32
_SHADOW = 0.24
_OUTLINE = 0.42
_HORIZON = 0.62


def draw(scene: Scene, size: int = 64) -> np.ndarray:
    """Return the picture of a scene, (size, size, 3) uint8 RGB; UserError for a size below 32."""
    if size < LEAST_SIZE:
        raise UserError(
            f"image_size={size} is too small to tell shapes apart; "
            f"the least is {LEAST_SIZE}, the usual 64"
        )
    canvas = _ground(scene.background, size)
    for obj in scene.objects:
        _paint(canvas, obj, size)
    np.clip(canvas, 0, 255, out=canvas)
    canvas += 0.5
    return canvas.astype(np.uint8)


@lru_cache(maxsize=8)
def _grain(size: int) -> np.ndarray:
    """Return one fixed piece of grain, (2 * size, 2 * size, 1); a scene shows a window of it."""
    coarse = np.random.default_rng(7).normal(0.0, 1.0, (128, 128)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((2 * size, 2 * size), Image.Resampling.BICUBIC)
    return np.asarray(fine)[..., None]


@lru_cache(maxsize=8)
def _ramp(size: int) -> np.ndarray:
    return np.linspace(-1, 1, size, dtype=np.float32)


def _window(background: Background, size: int) -> np.ndarray:
    left = int(background.grain * size)
    top = int(background.turn * size)
    return _grain(size)[top : top + size, left : left + size]


def _ground(background: Background, size: int) -> np.ndarray:
    """Return a new (size, size, 3) float32 canvas with the background on it."""
    if background.pattern == "meadow":
        return _meadow(background, size)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = BACKGROUNDS[background.tone, background.color]
    if background.pattern == "gradient":
        turn = 2 * math.pi * background.turn
        ramp = _ramp(size)
        canvas += ((17 * math.sin(turn)) * ramp[:, None] + (17 * math.cos(turn)) * ramp)[..., None]
    elif background.pattern == "grainy":
        canvas += 9 * _window(background, size)
    return canvas


def _meadow(background: Background, size: int) -> np.ndarray:
    canvas = np.empty((size, size, 3), np.float32)
    horizon = round((_HORIZON + 0.08 * (background.turn - 0.5)) * size)
    canvas[:horizon] = SKY
    canvas[:horizon] += (26 * np.linspace(-0.6, 1, horizon, dtype=np.float32))[:, None, None]
    canvas[horizon:] = GRASS
    canvas[horizon:] += 8 * _window(background, size)[horizon:]
    return canvas


def _paint(canvas: np.ndarray, obj: SceneObject, size: int) -> None:
    """Blend one object, its outline and its soft shadow into the canvas."""
    radius = obj.radius * size
    reach = 1.25 * radius + 1
    x, y = obj.x * size - 0.5, obj.y * size - 0.5
    left, right = max(0, math.floor(x - reach)), min(size, math.ceil(x + reach) + 1)
    top, bottom = max(0, math.floor(y - reach)), min(size, math.ceil(y + reach) + 1)
    across = (np.arange(left, right, dtype=np.float32) - x) / radius
    down = ((np.arange(top, bottom, dtype=np.float32) - y) / radius)[:, None]
    cos, sin = math.cos(obj.angle), math.sin(obj.angle)
    u, v = cos * across + sin * down, cos * down - sin * across
    distance = _DISTANCES[obj.shape](u, v) * radius
    cover = np.clip(0.5 - distance, 0, 1)[..., None]

    shift = max(1, round(0.022 * size))
    below = canvas[top + shift : bottom + shift, left + shift : right + shift]
    below *= 1 - _SHADOW * cover[: below.shape[0], : below.shape[1]]

    base = np.array(COLORS[obj.color], np.float32) + 7 * obj.tint
    ink = _shaded(obj, base, u, v, radius)
    width = min(max(1.0, 0.017 * size), 0.12 * radius)
    rim = np.clip(distance + 0.5 + width, 0, 1)[..., None]
    # a black object gets a lighter rim, or it would have none
    edge = base * (1 - _OUTLINE) if obj.color != "black" else base + 60
    ink = ink + (edge - ink) * rim
    patch = canvas[top:bottom, left:right]
    patch += (ink - patch) * cover


def _shaded(
    obj: SceneObject, base: np.ndarray, u: np.ndarray, v: np.ndarray, radius: float
) -> np.ndarray:
    """Return the ink of an object, (3,) or (h, w, 3): its color, and a second one in places."""
    if obj.texture == "solid":
        return base
    second = _SECOND.get(obj.color, _WHITE)
    share = _TEXTURES[obj.texture](u, v, obj.phase, obj.radius, radius / obj.radius)
    return base + (second - base) * share[..., None]


_WHITE = np.array((246, 246, 246), np.float32)
# white and the pale colors need a darker partner to show their texture
_SECOND = {
    "white": np.array((140, 146, 156), np.float32),
    "yellow": np.array((176, 128, 0), np.float32),
    "black": np.array((168, 168, 172), np.float32),
}


def _wave(position: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest integer, 0 to 0.5."""
    return np.abs(position - np.rint(position))


def _striped(u: np.ndarray, v: np.ndarray, phase: float, radius: float, scale: float) -> np.ndarray:
    period = 0.092
    turn = math.pi * phase
    along = (math.cos(turn) * u + math.sin(turn) * v) * (radius / period) + phase
    return np.clip((_wave(along) - 0.3) * (period * scale) + 0.5, 0, 1)


def _dotted(u: np.ndarray, v: np.ndarray, phase: float, radius: float, scale: float) -> np.ndarray:
    period = 0.104
    far = np.hypot(
        _wave(u * (radius / period) + 0.3 * phase), _wave(v * (radius / period) + 0.3 * phase)
    )
    return np.clip((0.31 - far) * (period * scale) + 0.5, 0, 1)


def _checkered(
    u: np.ndarray, v: np.ndarray, phase: float, radius: float, scale: float
) -> np.ndarray:
    period = 0.15
    a = _wave(u * (radius / period) + phase) - 0.25
    b = _wave(v * (radius / period) + phase) - 0.25
    return np.clip(4 * a * b * (period * scale) + 0.5, 0, 1)


_TEXTURES: dict[str, Callable[..., np.ndarray]] = {
    "striped": _striped,
    "dotted": _dotted,
    "checkered": _checkered,
}


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) - 0.97


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(u, v) - 0.8) - 0.2


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.86


def _diamond(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.abs(u) * 1.3 + np.abs(v) - 1.06) * 0.61


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v - 0.8, np.abs(u) * 0.8845 - (v + 1.05) * 0.4668)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    a, b = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(a, b) - 0.96, np.minimum(a, b) - 0.32)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest of the ten edges: outer radius 1.06, inner 0.5."""
    v = v - 0.06
    turn = np.arctan2(u, -v) * (5 / (2 * math.pi))
    turn = _wave(turn) * (2 * math.pi / 5)
    far = np.hypot(u, v)
    x, y = far * np.cos(turn), far * np.sin(turn)
    inner = (0.5 * math.cos(math.pi / 5), 0.5 * math.sin(math.pi / 5))
    dx, dy = inner[0] - 1.06, inner[1]
    length = math.hypot(dx, dy)
    return ((x - 1.06) * (dy / length)) - y * (dx / length)


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the distance to two lobes above, and to the tangents below that meet in the tip."""
    a = np.abs(u)
    lobe = np.hypot(a - 0.47, v + 0.35) - 0.5
    cleft = np.maximum(a - 0.47, (a - v - 0.52) * 0.707)
    tangent = a * 0.7538 + (v - 0.95) * 0.6572
    below = ((v + 0.35) * 0.7538 > (a - 0.47) * 0.6572) & (v > -0.35)
    return np.where(below, tangent, np.minimum(lobe, cleft))


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "diamond": _diamond,
    "ring": _ring,
}
