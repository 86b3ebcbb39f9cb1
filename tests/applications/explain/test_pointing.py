"""The pointing game on the built-in pictures."""

import pytest
import torch

from captionlab.applications.explain.pointing import Box, box_of, hits, named_objects
from captionlab.shapes.scene import Background, Scene, SceneObject


def shape(name: str, x: float, y: float, radius: float = 0.1) -> SceneObject:
    return SceneObject(name, "red", "small", "solid", x, y, radius, 0.0, 0.0, 0.0)


SCENE = Scene(
    (shape("star", 0.2, 0.3), shape("ring", 0.8, 0.3), shape("ring", 0.8, 0.7)),
    Background("plain", "light", "gray", 0.0, 0.0),
)


def test_a_word_names_the_one_object_of_its_shape():
    (named,) = named_objects(["a", "red", "star", "left", "of", "a", "ring"], SCENE)
    assert (named.word, named.text) == (2, "star")
    assert named.box == pytest.approx((0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(("row", "column", "hit"), [(3, 2, True), (3, 4, False), (5, 2, False)])
def test_the_largest_value_decides(row: int, column: int, hit: bool):
    saliency = torch.zeros(10, 10)
    saliency[row, column] = 1.0
    assert hits(saliency, box_of(SCENE.objects[0])) is hit


def test_chance_is_the_share_of_the_area():
    assert Box(0.1, 0.2, 0.3, 0.4).area == pytest.approx(0.04)
    random = torch.rand(4000, 10, 10, generator=torch.Generator().manual_seed(0))
    share = sum(hits(one, Box(0.0, 0.0, 0.5, 0.5)) for one in random) / 4000
    assert share == pytest.approx(0.25, abs=0.03)


def test_what_reaches_beyond_the_picture_is_cut_off():
    assert box_of(shape("star", 0.05, 0.5)).left == 0.0
