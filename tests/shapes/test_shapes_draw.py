from random import Random

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.shapes.draw import draw
from captionlab.shapes.scene import (
    BACKGROUNDS,
    COLORS,
    SHAPES,
    Background,
    Scene,
    SceneObject,
    sample_scene,
)

GROUND = Background("plain", "light", "gray", 0.0, 0.0)


def one(shape="circle", color="red", texture="solid", radius=0.24):
    thing = SceneObject(shape, color, "large", texture, 0.5, 0.5, radius, 0.0, 0.0, 0.0)
    return Scene((thing,), GROUND)


def covered(image):
    """Where the picture is neither background nor shadow, which is gray too."""
    image = image.astype(int)
    return (image.max(-1) - image.min(-1)) > 40


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_picture_has_the_size_asked_for_and_is_the_same_each_time(size):
    scene = sample_scene(Random(5))
    image = draw(scene, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, draw(scene, size))


@pytest.mark.parametrize("color", COLORS)
def test_a_solid_object_shows_its_color_in_its_middle(color):
    middle = draw(one(color=color, shape="square"))[28:36, 28:36].reshape(-1, 3).mean(0)
    nearest = min(COLORS, key=lambda name: np.abs(middle - COLORS[name]).sum())
    assert nearest == color


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_fills_its_extent_and_no_more(shape):
    rows, columns = np.nonzero(covered(draw(one(shape), 128)))
    radius = 0.24 * 128
    assert 1.6 * radius < max(np.ptp(rows), np.ptp(columns)) < 2.2 * radius
    assert abs((columns.min() + columns.max()) / 2 - 63.5) < 3


def test_shapes_differ_from_each_other_at_the_smallest_size():
    masks = [covered(draw(one(shape, radius=0.1))) for shape in SHAPES]
    assert min(mask.sum() for mask in masks) > 30
    for i, a in enumerate(masks):
        for b in masks[i + 1 :]:
            assert (a ^ b).sum() / (a | b).sum() > 0.12


@pytest.mark.parametrize("texture", ["striped", "dotted", "checkered"])
def test_a_texture_is_visible_and_leaves_the_color_in_the_majority(texture):
    inside = draw(one("square", "blue", texture))[22:42, 22:42].reshape(-1, 3).astype(int)
    pale = (inside[:, 0] > 140).mean()
    assert 0.1 < pale < 0.55
    assert (draw(one("square", "blue"))[22:42, 22:42, 0] < 100).all()


def test_larger_pictures_show_the_same_scene():
    rng = Random(8)
    for _ in range(20):
        scene = sample_scene(rng)
        small = draw(scene, 64).astype(float)
        large = draw(scene, 192).reshape(64, 3, 64, 3, 3).mean((1, 3))
        assert np.abs(small - large).mean() < 8


@pytest.mark.parametrize("tone", ["light", "dark"])
def test_backgrounds_are_as_light_or_dark_as_they_are_called(tone):
    for name, color in BACKGROUNDS:
        if name == tone:
            for pattern in ("plain", "gradient", "grainy"):
                image = draw(Scene((), Background(pattern, tone, color, 0.3, 0.6)))
                assert (image.mean() > 128) == (tone == "light")


def test_a_picture_too_small_for_shapes_is_refused():
    with pytest.raises(UserError, match="image_size=10"):
        draw(one(), 10)
