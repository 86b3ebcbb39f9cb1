"""Random masks find what a score rests on; the curves follow it."""

import pytest
import torch

from captionlab.applications.explain.curves import Curve, deletion_insertion
from captionlab.applications.explain.occlusion import occlusion_maps, random_masks
from captionlab.applications.explain.pointing import Box, hits

SIZE = 32
BLOCK = (slice(20, 28), slice(4, 12))  # rows, columns
PICTURE = torch.full((3, SIZE, SIZE), 255, dtype=torch.uint8)


def brightness(pictures):
    """A score that rests on one block alone, 1 where it is white and 0 where it is gray."""
    block = pictures[:, :, BLOCK[0], BLOCK[1]].float().mean((1, 2, 3))
    return ((block - 127) / 128)[:, None]


def test_masks_show_half_of_the_picture_and_no_more_than_all():
    masks = torch.cat(
        list(random_masks(300, SIZE, batch=64, generator=torch.Generator().manual_seed(0)))
    )
    assert masks.shape == (300, SIZE, SIZE)
    assert 0 <= masks.min() < masks.max() <= 1
    assert masks.mean() == pytest.approx(0.5, abs=0.03)


def test_the_block_that_a_score_rests_on_is_found():
    (found,) = occlusion_maps(brightness, PICTURE, masks=400)
    assert hits(found, Box(4 / SIZE, 20 / SIZE, 12 / SIZE, 28 / SIZE))
    # a pixel's share of what the whole block adds, which is 1
    assert 0.3 < found[BLOCK].mean() < 1
    assert found[:12, 20:].abs().mean() < 0.1


def test_a_score_that_rests_on_nothing_has_an_empty_map():
    (found,) = occlusion_maps(lambda pictures: torch.ones(len(pictures), 1), PICTURE, masks=50)
    assert found.abs().max() < 1e-6


def test_masks_are_the_same_for_the_same_seed_whatever_the_batch():
    maps = [occlusion_maps(brightness, PICTURE, masks=60, batch=60)]
    maps.append(occlusion_maps(brightness, PICTURE, masks=60, batch=60))
    torch.testing.assert_close(maps[0], maps[1], atol=0, rtol=0)
    other = occlusion_maps(brightness, PICTURE, masks=60, seed=1)
    assert not torch.equal(maps[0], other)


def test_no_batch_is_larger_than_was_asked_for():
    sizes = []

    def score(pictures):
        sizes.append(len(pictures))
        return brightness(pictures)

    occlusion_maps(score, PICTURE, masks=50, batch=16)
    assert sizes == [16, 16, 16, 2]


def test_curves_of_the_right_map_are_monotone_and_better_than_those_of_the_wrong_one():
    right = torch.zeros(SIZE, SIZE)
    right[BLOCK] = 1.0
    curves = deletion_insertion(lambda p: brightness(p)[:, 0], PICTURE, right)
    deletion, insertion = curves.deletion.values, curves.insertion.values
    assert list(deletion) == sorted(deletion, reverse=True)
    assert list(insertion) == sorted(insertion)
    assert (deletion[0], deletion[-1]) == (1.0, 0.0)
    assert (insertion[0], insertion[-1]) == (0.0, 1.0)
    wrong = deletion_insertion(lambda p: brightness(p)[:, 0], PICTURE, -right)
    assert curves.deletion.area < 0.1 < 0.9 < wrong.deletion.area
    assert wrong.insertion.area < 0.1 < 0.9 < curves.insertion.area


def test_area_of_a_straight_line():
    assert Curve((1.0, 0.5, 0.0)).area == pytest.approx(0.5)
