"""The order of training: an epoch is the same however it is dealt, loaded or interrupted."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import torch

from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.images.prepare import Augment
from captionlab.data.order import EvaluationSampler, TrainingSampler
from captionlab.data.readers.shapes import Shapes
from captionlab.text.tokenizers import WordTokenizer


def epoch_of(sampler: TrainingSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return [draw.item for draw in sampler]


@pytest.mark.parametrize("extra", [7, 500])
def test_an_epoch_holds_every_own_item_and_the_share_of_others(extra: int):
    sampler = TrainingSampler(90, extra=extra, share=0.25)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    for order in (first, second):
        assert len(order) == len(sampler) == 120
        assert Counter(i for i in order if i < 90) == Counter(range(90))
        added = Counter(i for i in order if i >= 90)
        assert added.total() == 30
        assert max(added.values()) == -(-30 // extra)
        assert max(added) < 90 + extra
    assert first != second
    assert first == epoch_of(TrainingSampler(90, extra=extra, share=0.25), 0)


@pytest.mark.parametrize(("own", "extra"), [(50, 20), (48, 0), (7, 0)])
def test_the_ranks_share_an_epoch_as_one_process_would_see_it(own: int, extra: int):
    how = {"extra": extra, "share": 0.2 if extra else 0.0}
    whole = list(TrainingSampler(own, **how))
    parts = [list(TrainingSampler(own, rank=rank, ranks=4, **how)) for rank in range(4)]
    assert len({len(part) for part in parts}) == 1
    together = [draw for step in zip(*parts, strict=True) for draw in step]
    assert together[: len(whole)] == whole
    assert together[len(whole) :] == whole[: len(together) - len(whole)]


def test_seeds_and_epochs_draw_differently():
    sampler = TrainingSampler(30)
    first, again = list(sampler), list(sampler)
    assert [d.item for d in first] != [d.item for d in again]
    assert not {d.seed for d in first} & {d.seed for d in again}
    assert epoch_of(TrainingSampler(30, seed=1), 0) != epoch_of(sampler, 0)


def module(**options) -> CaptionDataModule:
    source = Shapes(train_size=40, val_size=6, test_size=6, image_size=32)
    return CaptionDataModule(
        name="shapes",
        source=source,
        tokenizer=partial(WordTokenizer.fit, threshold=2),
        image_size=32,
        batch_size=6,
        captions_per_image=2,
        **options,
    )


def seen(batches) -> list[tuple]:
    return [(b.image_ids, b.tokens.tolist(), b.images.sum().item()) for b in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_epoch_goes_on_where_it_stopped(workers: int):
    vary = Augment(random_operations=1, mixup=0.2)
    torch.manual_seed(4)
    whole = seen(module(augment=vary).train_dataloader())
    assert len(whole) == 6
    torch.manual_seed(4)
    loader = module(augment=vary, num_workers=workers).train_dataloader()
    batches = iter(loader)
    first = seen(next(batches) for _ in range(2))
    state = loader.state_dict()
    torch.manual_seed(4)
    resumed = module(augment=vary, num_workers=workers).train_dataloader()
    resumed.load_state_dict(state)
    assert len(resumed) == 6
    assert first + seen(resumed) == whole
    assert seen(resumed) != whole  # the next epoch is another one, and whole
    assert resumed.state_dict() == {"given": 0}


def test_what_is_drawn_for_an_item_does_not_move_other_draws():
    data = module(augment=Augment())
    loader = data.train_dataloader()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(loader)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("size", "ranks"), [(7, 2), (8, 2), (2, 4), (9, 4)])
def test_every_rank_gets_equally_many_items_and_all_are_there(size: int, ranks: int):
    dealt = [list(EvaluationSampler(size, rank, ranks)) for rank in range(ranks)]
    assert len({len(items) for items in dealt}) == 1
    assert {i for items in dealt for i in items} == set(range(size))
