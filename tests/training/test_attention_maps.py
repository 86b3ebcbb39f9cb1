"""Attention lies on the picture where the encoder saw what it weighs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.data.dataset import CaptionDataset
from captionlab.data.features import FeatureStore, write_store
from captionlab.data.images import frame, prepare
from captionlab.data.records import CaptionRecord
from captionlab.data.regions import open_features
from captionlab.memory import Memory
from captionlab.text.tokenizers import WordTokenizer
from captionlab.training.attention_maps import AttentionMaps, lay_attention, over_boxes
from captionlab.training.gallery import shaded

HEIGHT, WIDTH, SIZE, SIDE = 40, 80, 32, 4


def picture(row: int = 0, column: int = 0) -> np.ndarray:
    """A black picture with one white spot, 10 pixels high and wide."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[row : row + 10, column : column + 10] = 255
    return image


def dataset(image: np.ndarray, **how: Any) -> CaptionDataset:
    record = CaptionRecord("7", partial(np.copy, image), ("a",))
    tokenizer = WordTokenizer.fit(["a b c d e f"], threshold=1)
    return CaptionDataset([record], tokenizer, image_size=SIZE, **how)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("place", [(0, 20), (30, 50), (15, 35)])
def test_what_the_encoder_looked_at_is_what_stays_bright(fit: str, place: tuple[int, int]):
    """An encoder that looks at the bright part of its square looks at the spot of the picture."""
    image = picture(*place)
    square = prepare(torch.from_numpy(image).permute(2, 0, 1), SIZE, fit)[0].float()
    square[square == 124] = 0  # the padding
    weights = torch.nn.functional.avg_pool2d(square[None], SIZE // SIDE).flatten(1)
    laid = lay_attention(dataset(image, fit=fit), 0, (HEIGHT, WIDTH), weights / weights.sum())
    assert isinstance(laid, AttentionMaps)
    white = Image.new("RGB", (WIDTH, HEIGHT), "white")
    shown = np.asarray(shaded(white, laid.maps[0].numpy(), laid.frame)).astype(float)[..., 0]
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert shown[place[0] : place[0] + 10, place[1] : place[1] + 10].mean() > 1.5 * shown.mean()
    assert abs(row - place[0] - 5) <= 10
    assert abs(column - place[1] - 5) <= 20 / (1 if fit == "stretch" else 2)


def test_what_was_cropped_away_is_dark():
    left, top, right, bottom = frame(HEIGHT, WIDTH, SIZE, "crop")
    assert (left, top, right, bottom) == (0.25, 0.0, 0.75, 1.0)
    white = Image.new("RGB", (WIDTH, HEIGHT), "white")
    shown = np.asarray(shaded(white, np.ones((SIDE, SIDE)), (left, top, right, bottom)))
    assert (shown[:, 20:60] == 255).all()
    assert (shown[:, :20] < 60).all()
    assert (shown[:, 60:] < 60).all()


def test_padding_reaches_beyond_the_picture_and_is_not_shown():
    assert frame(HEIGHT, WIDTH, SIZE, "pad") == (0.0, -0.5, 1.0, 1.5)
    weights = torch.zeros(1, SIDE, SIDE)
    weights[0, 0, 0], weights[0, 1, 2] = 9.0, 1.0  # most of it on padding
    laid = lay_attention(dataset(picture(), fit="pad"), 0, (HEIGHT, WIDTH), weights.flatten(1))
    assert isinstance(laid, AttentionMaps)
    assert laid.frame == (0.0, 0.0, 1.0, 1.0)
    assert torch.equal(laid.maps, weights[:, 1:3])


@pytest.mark.parametrize("slots", [1, 8, 10])
def test_slots_that_form_no_grid_are_told(slots: int):
    laid = lay_attention(dataset(picture()), 0, (HEIGHT, WIDTH), torch.ones(2, slots))
    assert isinstance(laid, str)
    assert f"{slots} memory slots" in laid


def test_attention_over_stored_features_lies_as_they_were_made(tmp_path: Path):
    def encode(records: object) -> Memory:
        return Memory(torch.ones(1, 16, 2), torch.ones(1, 2), torch.ones(1, 16, dtype=torch.bool))

    record = CaptionRecord("7", partial(np.copy, picture()), ("a",))
    write_store(tmp_path / "s", [record], {"encoder": "x", "fit": "crop"}, encode)
    data = dataset(picture(), fit="stretch", features=FeatureStore(tmp_path / "s"))
    weights = torch.arange(16.0)[None]
    # padded in its batch, beside an image of more slots
    laid = lay_attention(data, 0, (HEIGHT, WIDTH), torch.cat([weights, torch.zeros(1, 4)], 1))
    assert isinstance(laid, AttentionMaps)
    assert laid.frame == frame(HEIGHT, WIDTH, SIZE, "crop")
    assert torch.equal(laid.maps, weights.view(1, 4, 4))


def test_attention_over_published_regions_lies_in_their_boxes(tmp_path: Path):
    boxes = np.array([[0, 0, 40, 40], [40, 20, 80, 40]], np.float32)
    slots = np.ones((2, 3), np.float32)
    np.savez(tmp_path / "7.npz", feat=slots, bbox=boxes, image_w=WIDTH, image_h=HEIGHT)
    data = dataset(picture(), features=open_features(tmp_path))
    laid = lay_attention(data, 0, (HEIGHT, WIDTH), torch.tensor([[0.2, 0.8], [0.7, 0.3]]))
    assert isinstance(laid, AttentionMaps)
    assert laid.boxes is not None
    assert laid.boxes.tolist() == [[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]]
    first = laid.maps[0]
    assert first[:, :24].unique().tolist() == pytest.approx([0.2])
    assert first[24:, 24:].unique().tolist() == pytest.approx([0.8])
    assert first[:24, 24:].unique().tolist() == [0.0]
    np.savez(tmp_path / "7.npz", feat=slots)
    told = lay_attention(data, 0, (HEIGHT, WIDTH), torch.ones(2, 2))
    assert isinstance(told, str)
    assert "tells no boxes" in told


def test_the_stronger_of_two_boxes_is_shown_where_they_overlap():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    maps = over_boxes(torch.tensor([[0.25, 0.5]]), boxes).maps[0]
    assert maps[0, 0] == 0.25
    assert maps[24, 24] == 0.5  # a box without an area has one cell
    assert (maps == 0.5).sum() == 1


@pytest.mark.parametrize(("shape", "shown"), [((40, 80), (50, 100)), ((20, 10), (20, 10))])
def test_a_picture_keeps_its_proportions(shape: tuple[int, int], shown: tuple[int, int]):
    image = np.zeros((*shape, 3), np.uint8) if max(shape) < 50 else picture()
    large = image.repeat(4, 0).repeat(4, 1) if max(shape) > 50 else image
    found = dataset(large).picture(0, 100)
    assert found is not None
    assert tuple(found.shape) == (3, *shown)


def test_a_picture_that_is_gone_costs_no_page_of_stored_features(tmp_path: Path):
    np.savez(tmp_path / "7.npz", feat=np.ones((2, 3), np.float32))
    data = dataset(picture(), features=open_features(tmp_path))
    data.records = [CaptionRecord("7", tmp_path / "gone.jpg", ("a",))]
    assert data.picture(0, 100) is None
