"""The index of training images: the nearest are the nearest, and a damaged one is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from captionlab.core.errors import UserError
from captionlab.models.retrieval import index as module
from captionlab.models.retrieval.index import LONGEST, CaptionIndex

CAPTIONS = [[[4, 5], [6]], [[7, 8, 9]], [[], [4, 4]], [[5]], [[6, 7]], [[8]]]


def filled(features: torch.Tensor) -> CaptionIndex:
    index = CaptionIndex(features.shape[1], (0, 0, 0), vocabulary_size=10)
    index.set_captions(CAPTIONS)
    index.set_features(features.split(4))
    return index


@pytest.mark.parametrize("rows", [2, 100])
def test_the_nearest_images_are_those_with_the_largest_cosine(rows: int, monkeypatch):
    monkeypatch.setattr(module, "ROWS", rows)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, generator=generator) * torch.arange(1, 7)[:, None]
    query = torch.randn(3, 5, generator=generator)
    found = filled(features).nearest(query, 4)
    cosine = F.cosine_similarity(query[:, None], features[None], dim=-1)
    assert found.images.tolist() == cosine.topk(4).indices.tolist()
    torch.testing.assert_close(found.similarity, cosine.topk(4).values, atol=1e-3, rtol=0)
    assert filled(features).nearest(query, 100).images.shape == (3, 6)


def test_an_image_is_not_its_own_neighbor_where_it_is_left_out():
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    own = torch.tensor([2, 4, -1])
    index = filled(features)
    assert index.nearest(features[[2, 4, 5]], 1).images.flatten().tolist() == [2, 4, 5]
    found = index.nearest(features[[2, 4, 5]], 6, leave_out=own).images
    assert found.shape == (3, 5)
    assert 2 not in found[0].tolist()
    assert 4 not in found[1].tolist()
    assert found[2, 0] == 5


def test_captions_are_those_that_were_given():
    index = filled(torch.randn(6, 5))
    assert index.sizes == (6, 8, 12)
    numbers = index.captions_of(torch.tensor([2, 0]))
    assert numbers.tolist() == [3, 4, 0, 1]
    assert [index.caption(n).tolist() for n in numbers] == [[], [4, 4], [4, 5], [6]]
    again = CaptionIndex(5, index.sizes, vocabulary_size=10)
    again.load_state_dict(index.state_dict())
    assert again.nearest(torch.randn(1, 5), 2).images.shape == (1, 2)


def test_one_caption_of_each_neighbor_comes_before_a_second_of_any():
    features = torch.eye(6) + 0.1 * torch.ones(6, 6).tril(-1)
    index = filled(features)
    query, itself = features[:1], torch.tensor([0])
    found = index.nearest(query, 3, leave_out=itself).images[0].tolist()
    (captions,) = index.nearest_captions(query, 3, leave_out=itself)
    seconds = [CAPTIONS[image][1] for image in found if len(CAPTIONS[image]) > 1]
    assert [c.tolist() for c in captions] == [CAPTIONS[image][0] for image in found] + seconds
    (captions,) = index.nearest_captions(query, 6)
    assert len(captions) == index.sizes.captions
    assert captions[0].tolist() == [4, 5]
    (captions,) = index.nearest_captions(query, 2, leave_out=torch.tensor([-1]))
    assert [c.tolist() for c in captions[:2]] == [[4, 5], CAPTIONS[found[0]][0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_caption", [0, 2, 3, 5, 4, 7, 8]),
        ("first_caption", [0, 2, 3, 5, 6, 7, 9]),
        ("first_token", [1, 2, 3, 6, 6, 8, 9, 11, 12]),
        ("tokens", [4, 5, 6, 7, 8, 9, 4, 4, 5, 6, 7, 10]),
        ("tokens", [4, 5, 6, 7, 8, 9, 4, 4, 5, 6, 7, -1]),
    ],
)
def test_an_index_whose_parts_do_not_fit_is_refused(name: str, value: list[int]):
    index = filled(torch.randn(6, 5))
    index.nearest(torch.randn(1, 5), 2)
    index.load_state_dict({**index.state_dict(), name: torch.tensor(value, dtype=torch.int32)})
    with pytest.raises(UserError, match="damaged"):
        index.nearest(torch.randn(1, 5), 2)


def test_an_empty_index_and_sizes_that_cannot_be_are_refused():
    empty = CaptionIndex(5, (0, 0, 0), vocabulary_size=10)
    with pytest.raises(UserError, match="no training images yet"):
        empty.nearest(torch.randn(1, 5), 2)
    with pytest.raises(UserError, match=r"index=\[1, -2, 3\]"):
        CaptionIndex(5, (1, -2, 3), vocabulary_size=10)
    with pytest.raises(UserError, match="captions of 6 images and features of"):
        filled(torch.randn(5, 5))


def test_a_caption_of_thousands_of_tokens_is_damage():
    index = CaptionIndex(5, (0, 0, 0), vocabulary_size=10)
    index.set_captions([[[4] * (LONGEST + 1)]])
    index.set_features([torch.randn(1, 5)])
    with pytest.raises(UserError, match="damaged"):
        index.nearest(torch.randn(1, 5), 1)
