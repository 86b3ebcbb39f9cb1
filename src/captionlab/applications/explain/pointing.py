"""The pointing game: does the most important point of a map lie on the object that a word names?

Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop", section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from captionlab.shapes.scene import SHAPES, Scene, SceneObject


class Box(NamedTuple):
    """Left, top, right, bottom as shares of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """The share of the picture: how often a random point hits it."""
        return (self.right - self.left) * (self.bottom - self.top)

    def holds(self, x: float, y: float) -> bool:
        """Return whether a point lies in it."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


def box_of(obj: SceneObject) -> Box:
    """Return the square in which an object of the built-in pictures is drawn."""
    edges = (obj.x - obj.radius, obj.y - obj.radius, obj.x + obj.radius, obj.y + obj.radius)
    return Box(*(min(max(edge, 0.0), 1.0) for edge in edges))


def hits(saliency: Tensor, box: Box) -> bool:
    """Return whether the largest value of a map (h,w) lies in a box, without any tolerance."""
    rows, columns = saliency.shape
    place = int(saliency.flatten().argmax())
    return box.holds((place % columns + 0.5) / columns, (place // columns + 0.5) / rows)


class NamedObject(NamedTuple):
    """A word of a caption (its number from 0), and where the one object is that it can name."""

    word: int
    text: str
    box: Box


def named_objects(words: Sequence[str], scene: Scene) -> list[NamedObject]:
    """Return the words of a true English caption that name a shape which one object alone has."""
    by_shape = {shape: [obj for obj in scene.objects if obj.shape == shape] for shape in SHAPES}
    return [
        NamedObject(place, word, box_of(by_shape[word][0]))
        for place, word in enumerate(words)
        if word in by_shape and len(by_shape[word]) == 1
    ]
