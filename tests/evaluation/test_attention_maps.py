"""Attention lies on the picture where the encoder saw it, however the picture reached it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionDataset
from captionlab.data.features.regions import open_features
from captionlab.data.features.store import Features, FeatureStore, write_store
from captionlab.data.images.prepare import prepare
from captionlab.data.records import CaptionRecord
from captionlab.evaluation.attention_maps import BOX_MAP_SIDE, AttentionMaps, attention_maps_of
from captionlab.evaluation.gallery import Example, attention_picture
from captionlab.text.tokenizers import WordTokenizer

SIZE, SIDE = 64, 8  # of the square that the encoder gets, and of its grid


def spotted(height: int, width: int, y: float, x: float) -> np.ndarray:
    """Return a black picture with a white spot around (y, x), shares of its height and width."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = round(y * height), round(x * width)
    image[top - 6 : top + 6, left - 6 : left + 6] = 255
    return image


def dataset(image: np.ndarray, fit: str, features: Features | None = None) -> CaptionDataset:
    words = WordTokenizer.fit(["one dog runs on grass"], threshold=1)
    records = [CaptionRecord("x", lambda: image, ("a dog",))]
    return CaptionDataset(records, words, image_size=SIZE, fit=fit, features=features)


def looking_at_white(image: np.ndarray, fit: str) -> torch.Tensor:
    """Return the attention (1,N) of a model that looks at what is white in the encoder's square."""
    square = prepare(torch.from_numpy(image).permute(2, 0, 1), SIZE, fit)
    white = (square.amin(0) > 180).float()
    return F.avg_pool2d(white[None], SIZE // SIDE).flatten(1)


def brightest(image: np.ndarray, seen: AttentionMaps) -> tuple[float, float]:
    """Return where the shown picture is bright, y and x as shares."""
    white = np.full_like(image, 255)
    tile = attention_picture(Example(white, "x", "a", attention=seen, words=["a"]))
    shown = np.asarray(tile)[:-20, :, 0].astype(float)  # without the word below
    shown = shown[:, : round(len(shown) * image.shape[1] / len(image))]  # and what is beside it
    lit = (shown - shown.min()) ** 2
    y, x = np.indices(lit.shape)
    return (y * lit).sum() / lit.sum() / len(lit), (x * lit).sum() / lit.sum() / lit.shape[1]


@pytest.mark.parametrize(("height", "width"), [(80, 160), (160, 80)])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_what_was_looked_at_is_bright_on_the_picture(fit: str, height: int, width: int):
    y, x = (0.3, 0.6) if width > height else (0.6, 0.3)
    image = spotted(height, width, y, x)
    weights = looking_at_white(image, fit)
    assert weights.max() > 0
    seen = attention_maps_of(dataset(image, fit), 0, (height, width), weights)
    assert brightest(image, seen) == pytest.approx((y, x), abs=0.07)


def test_attention_to_the_padding_does_not_darken_the_picture():
    weights = torch.full((1, SIDE, SIDE), 0.01)
    weights[:, :2] = 1.0  # the upper bar of a picture that is twice as wide as high
    weights[:, 4, 4] = 0.1
    image = spotted(80, 160, 0.5, 0.5)
    seen = attention_maps_of(dataset(image, "pad"), 0, (80, 160), weights.flatten(1))
    assert seen.maps.shape == (1, 4, 8)
    assert seen.frame == pytest.approx((0, 0, 1, 1))
    assert seen.maps.max() == pytest.approx(0.1)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_stored_features_are_laid_as_the_store_was_made(tmp_path: Path, fit: str):
    image = spotted(80, 160, 0.4, 0.6)
    # what the data says of fit is not what made the store: model/encoder=regions reads any
    data = dataset(image, "pad", store(tmp_path, image, fit))
    seen = attention_maps_of(data, 0, (80, 160), looking_at_white(image, fit))
    assert brightest(image, seen) == pytest.approx((0.4, 0.6), abs=0.07)


def store(folder: Path, image: np.ndarray, fit: str) -> FeatureStore:
    def encode(batch: object) -> Memory:
        slots = SIDE * SIDE
        return Memory(torch.zeros(1, slots, 2), torch.zeros(1, 2), torch.ones(1, slots).bool())

    records = [CaptionRecord("x", lambda: image, ("a dog",))]
    write_store(folder, records, {"fit": fit}, encode)
    return FeatureStore(folder)


def test_regions_are_boxes_and_the_one_looked_at_most_is_told(tmp_path: Path):
    boxes = np.array([[0, 0, 50, 200], [0, 0, 100, 100], [90, 190, 90.5, 190.5]], np.float32)
    np.savez(tmp_path / "x.npz", feat=np.ones((3, 4)), bbox=boxes, image_w=100, image_h=200)
    data = dataset(spotted(200, 100, 0.5, 0.5), "crop", open_features(tmp_path))
    # the fourth slot is padding of a batch with an image of more regions
    weights = torch.tensor([[0.6, 0.3, 0.1, 0.0], [0.2, 0.7, 0.1, 0.0]])
    seen = attention_maps_of(data, 0, (200, 100), weights)
    assert seen.frame == (0, 0, 1, 1)
    assert seen.boxes.tolist() == [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 0.5]]
    first, second = seen.maps
    half, end = BOX_MAP_SIDE // 2, BOX_MAP_SIDE - 1
    assert [float(first[0, 0]), float(first[0, end])] == pytest.approx([0.6, 0.3])
    assert [float(first[end, 0]), float(first[end, half])] == pytest.approx([0.6, 0.0])
    assert float(second[0, 0]) == pytest.approx(0.7)
    # a region smaller than a cell is there too
    assert float(first[int(0.95 * BOX_MAP_SIDE), int(0.9 * BOX_MAP_SIDE)]) == pytest.approx(0.1)


def test_a_stored_grid_of_any_sides_has_its_cells_as_boxes(tmp_path: Path):
    np.savez(tmp_path / "x.npz", feat=np.ones((2, 3, 4)))
    data = dataset(spotted(80, 80, 0.5, 0.5), "stretch", open_features(tmp_path))
    weights = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    seen = attention_maps_of(data, 0, (80, 80), weights)
    torch.testing.assert_close(seen.boxes, torch.tensor([[2 / 3, 1 / 2, 1.0, 1.0]]))
    assert float(seen.maps[0, 0, 0]) == 0.0
    assert float(seen.maps[0, -1, -1]) == 1.0


def test_where_no_place_is_known_the_reason_is_told(tmp_path: Path):
    np.savez(tmp_path / "x.npz", feat=np.ones((36, 4)))  # 36 regions are no grid of 6 x 6
    data = dataset(spotted(80, 80, 0.5, 0.5), "stretch", open_features(tmp_path))
    said = attention_maps_of(data, 0, (80, 80), torch.ones(1, 36))
    assert said == f"{tmp_path} tells no boxes, so where its regions are is not known"
    for slots in (8, 1):
        said = attention_maps_of(
            dataset(spotted(80, 80, 0.5, 0.5), "pad"), 0, (80, 80), torch.ones(1, slots)
        )
        assert f"{slots} memory slots" in said
