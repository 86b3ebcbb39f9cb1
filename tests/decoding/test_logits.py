from __future__ import annotations

import pytest
import torch

from captionlab.decoding.logits import ban_, largest, never_ids, require_length_


def test_never_ids_hold_bos_pad_and_banned_but_not_eos():
    ids = never_ids(bos_id=1, eos_id=2, pad_id=0, banned_ids=[3, 2], device=torch.device("cpu"))
    assert ids.tolist() == [0, 1, 3]
    shared = never_ids(bos_id=2, eos_id=2, pad_id=2, banned_ids=[], device=torch.device("cpu"))
    assert shared.tolist() == []


def test_ban_sets_minus_infinity_and_leaves_the_rest():
    banned = ban_(torch.ones(2, 3, 4), torch.tensor([1, 3]))
    assert banned[..., [1, 3]].eq(-torch.inf).all()
    assert banned[..., [0, 2]].eq(1).all()


def test_eos_is_banned_exactly_until_there_are_enough_words():
    ends = [
        require_length_(torch.zeros(1, 1, 4), words=words, min_length=2, eos_id=3)
        for words in range(4)
    ]
    assert [end[0, 0, 3].isfinite().item() for end in ends] == [False, False, True, True]
    assert all(end[..., :3].eq(0).all() for end in ends)


@pytest.mark.parametrize("vocabulary", [5, 1024, 1100])
@pytest.mark.parametrize("count", [1, 3])
def test_the_largest_are_those_of_topk(vocabulary: int, count: int):
    scores = torch.randn(3, 2, vocabulary, generator=torch.Generator().manual_seed(0))
    scores[0, 0, vocabulary // 2 :] = -torch.inf
    scores[0, 1, :-1] = -torch.inf
    scores[1, 1, 3:] = 2.0  # ties: the first of them
    values, ids = largest(scores, count)
    assert torch.equal(values, scores.topk(count, dim=-1).values)
    assert torch.equal(scores.gather(-1, ids), values)
    assert ids[1, 1, 0] == largest(scores, 1)[1][1, 1, 0]
