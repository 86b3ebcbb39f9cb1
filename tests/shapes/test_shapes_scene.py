import math
from random import Random

import pytest

from captionlab.shapes.facts import extreme, inside, larger
from captionlab.shapes.scene import HELD_OUT, SHAPES, SIZES, sample_scene


@pytest.fixture(scope="module")
def scenes():
    rng = Random(11)
    return [sample_scene(rng) for _ in range(1500)]


def test_scenes_have_one_to_four_objects_and_mostly_few(scenes):
    counts = [len(scene.objects) for scene in scenes]
    assert set(counts) == {1, 2, 3, 4}
    assert sum(count <= 3 for count in counts) / len(counts) > 0.85


def test_objects_lie_in_the_picture_and_touch_only_when_inside(scenes):
    for scene in scenes:
        for i, a in enumerate(scene.objects):
            assert a.radius <= min(a.x, a.y, 1 - a.x, 1 - a.y)
            for b in scene.objects[i + 1 :]:
                apart = math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius
                assert apart or inside(b, a)


def test_some_scenes_have_an_object_inside_another(scenes):
    nested = [s for s in scenes if any(inside(a, b) for a in s.objects for b in s.objects)]
    assert 0.03 < len(nested) / len(scenes) < 0.3


def test_size_classes_are_clearly_apart_and_alike_within():
    (a, b), (c, d), (e, f) = SIZES.values()
    assert min(c / b, e / d) > 1.25
    assert max(b / a, d / c, f / e) < 1.15


def test_the_larger_object_is_the_one_of_the_larger_class(scenes):
    order = list(SIZES)
    for scene in scenes[:300]:
        ranks = [order.index(thing.size) for thing in scene.objects]
        one = extreme("largest", scene.objects)
        expected = len(ranks) > 1 and ranks.count(max(ranks)) == 1
        assert (one is not None) == expected
        for a in scene.objects:
            for b in scene.objects:
                assert larger(a, b) == (order.index(a.size) > order.index(b.size))


def test_held_out_pairs_cover_every_shape_with_its_own_color():
    assert sorted(shape for _, shape in HELD_OUT) == sorted(SHAPES)
    assert len({color for color, _ in HELD_OUT}) == len(HELD_OUT)


def test_unseen_scenes_hold_a_held_out_pair():
    rng = Random(2)
    for _ in range(200):
        scene = sample_scene(rng, unseen=True)
        assert any((thing.color, thing.shape) in HELD_OUT for thing in scene.objects)
