"""Captions of similar images as a prompt."""

from __future__ import annotations

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens
from captionlab.models.retrieval import CaptionRetrieval

SEPARATOR = 9


def retrieval(**settings: int) -> CaptionRetrieval:
    one = CaptionRetrieval(pooled_dim=2, vocabulary_size=10, separator_id=SEPARATOR, **settings)
    one.index.set_captions([[[4, 5], [6]], [[7]], [[8, 8, 8]]])
    one.index.set_features([torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]])])
    return one


def test_first_captions_of_the_nearest_stand_before_their_second_ones():
    (prompt,) = retrieval(images=2, tokens=9).prompts(torch.tensor([[1.0, 0.0]]))
    again = [SEPARATOR]
    assert prompt == [SEPARATOR, 4, 5, SEPARATOR, 7, SEPARATOR, 6, *again, SpecialTokens.BOS]


def test_every_prompt_is_of_one_length():
    images = torch.tensor([[1.0, 0.0], [-1.0, 0.1]])
    assert [len(p) for p in retrieval(images=1, tokens=5).prompts(images)] == [5, 5]


def test_an_image_is_not_told_its_own_captions():
    places = torch.tensor([0])
    (prompt,) = retrieval(images=1, tokens=3).prompts(torch.tensor([[1.0, 0.0]]), places)
    assert prompt == [SEPARATOR, 7, SpecialTokens.BOS]


@pytest.mark.parametrize(("key", "least"), [("images", 1), ("tokens", 2)])
def test_sizes_that_leave_nothing_are_refused(key: str, least: int):
    with pytest.raises(UserError, match=f"{key}={least - 1} must be at least {least} and at most"):
        retrieval(**{key: least - 1})
