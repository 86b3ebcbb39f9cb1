"""Which cells of a grid show the picture, and which its padding alone."""

from __future__ import annotations

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.padding import PADDING, cells_of_picture
from captionlab.data.images.prepare import frame, prepare
from captionlab.evaluation.attention_maps import AttentionMaps, without_padding


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def solid(height: int, width: int) -> torch.Tensor:
    return torch.tensor(PADDING, dtype=torch.uint8)[:, None, None].repeat(1, height, width)


@pytest.mark.parametrize("kind", ["uint8", "float"])
@pytest.mark.parametrize("size", [64, 75], ids=["even", "uneven"])
@pytest.mark.parametrize(
    ("height", "width"), [(50, 100), (100, 50), (90, 100), (60, 60), (7, 100)], ids=str
)
def test_the_cells_are_those_that_a_page_shows(height: int, width: int, size: int, kind: str):
    square = prepare(noise(height, width), size, "pad")[None]
    found = cells_of_picture(square / 255 if kind == "float" else square, 64).view(8, 8)
    # maps without padding are cut to the cells that touch the picture
    maps = AttentionMaps(torch.ones(1, 8, 8), frame(height, width, size, "pad"))
    shown = without_padding(maps).maps.shape[1:]
    assert (found.any(1).sum(), found.any(0).sum()) == tuple(shown)
    assert found.sum() == shown[0] * shown[1]


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_without_bars_every_cell_is_real(fit: str):
    assert cells_of_picture(prepare(noise(50, 100), 64, fit)[None], 16).all()


def test_an_image_of_the_bars_color_is_a_picture():
    assert cells_of_picture(solid(64, 64)[None], 16).all()
    # and so is a patch of it within one
    image = noise(64, 64)
    image[:, 16:48, 16:48] = solid(32, 32)
    assert cells_of_picture(image[None], 16).all()


def test_each_image_of_a_batch_has_its_own_bars():
    wide, tall = (prepare(noise(*shape), 64, "pad") for shape in ((32, 64), (64, 32)))
    first, second = cells_of_picture(torch.stack([wide, tall]), 16).view(2, 4, 4)
    assert first.any(1).tolist() == [False, True, True, False]
    assert torch.equal(second, first.T)


def test_slots_that_are_no_grid_are_refused():
    with pytest.raises(UserError, match=r"mask_padding=true: .* 15 memory slots"):
        cells_of_picture(noise(8, 8)[None], 15)
