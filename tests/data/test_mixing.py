"""A second source of training pairs."""

from __future__ import annotations

from collections import Counter

import pytest

from captionlab.configuration import build_data
from captionlab.data.mixing import Extra, MixedSampler
from captionlab.data.shapes import Shapes
from captionlab.errors import UserError
from tests_support import tiny_config


def epoch_of(sampler: MixedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("extra", [7, 500])
def test_an_epoch_holds_every_own_item_and_the_share_of_others(extra: int):
    sampler = MixedSampler(90, extra, 0.25)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    for order in (first, second):
        assert len(order) == len(sampler) == 120
        assert Counter(i for i in order if i < 90) == Counter(range(90))
        added = Counter(i for i in order if i >= 90)
        assert added.total() == 30
        assert max(added.values()) == -(-30 // extra)
        assert max(added) < 90 + extra
    assert first != second
    assert first == epoch_of(MixedSampler(90, extra, 0.25), 0)


def test_the_ranks_share_an_epoch():
    parts = [list(MixedSampler(50, 20, 0.2, rank=rank, ranks=4)) for rank in range(4)]
    assert {len(part) for part in parts} == {16}
    seen = Counter(i for part in parts for i in part)
    assert set(range(50)) <= set(seen)
    assert seen.total() == 64


def test_extra_pairs_reach_training_alone():
    config = tiny_config("data/extra=shapes", "data.extra.source.train_size=30")["data"]
    config["extra"]["source"]["seed"] = 5
    data = build_data(config)
    data.setup("fit")
    assert len(data.records("train")) == 96
    ids = [record.image_id for record in data.dataset("train").records]
    assert len(ids) == len(set(ids)) == 126
    assert all(str(i).startswith("extra-") for i in ids[96:])
    assert len(data.dataset("val")) == 8
    trained = [i for batch in data.train_dataloader() for i in batch.image_ids]
    assert sum(str(i).startswith("extra-") for i in trained) > 0


def test_what_cannot_be_added_is_said():
    chinese = Shapes(language="zh", train_size=4, val_size=2, test_size=2)
    with pytest.raises(UserError, match="one captioner writes one language"):
        Extra(source=chinese).records("en")
    with pytest.raises(UserError, match=r"data\.extra\.share=1\.0 must be between 0 and 1"):
        Extra(source=chinese, share=1.0)
