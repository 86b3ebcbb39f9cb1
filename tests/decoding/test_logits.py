from __future__ import annotations

import torch

from captionlab.decoding.logits import ban, never_ids, require_length


def test_never_ids_hold_bos_pad_and_banned_but_not_eos():
    ids = never_ids(bos_id=1, eos_id=2, pad_id=0, banned_ids=[3, 2], device=torch.device("cpu"))
    assert ids.tolist() == [0, 1, 3]
    shared = never_ids(bos_id=2, eos_id=2, pad_id=2, banned_ids=[], device=torch.device("cpu"))
    assert shared.tolist() == []


def test_ban_gives_minus_infinity_and_leaves_the_input_alone():
    logits = torch.ones(2, 3, 4)
    banned = ban(logits, torch.tensor([1, 3]))
    assert banned[..., [1, 3]].eq(-torch.inf).all()
    assert banned[..., [0, 2]].eq(1).all()
    assert logits.eq(1).all()


def test_eos_is_banned_exactly_until_there_are_enough_words():
    logits = torch.zeros(1, 1, 4)
    ends = [
        require_length(logits, words=words, min_length=2, eos_id=3)[0, 0, 3].isfinite().item()
        for words in range(4)
    ]
    assert ends == [False, False, True, True]
    assert logits.eq(0).all()
