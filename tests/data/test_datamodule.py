from functools import partial

import pytest

from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.readers.shapes import Shapes
from captionlab.text.tokenizers import WordTokenizer


def module(language: str = "en", **options) -> CaptionDataModule:
    source = Shapes(train_size=40, val_size=6, test_size=6, image_size=32, language=language)
    fit = partial(WordTokenizer.fit, threshold=2)
    return CaptionDataModule(name="shapes", source=source, tokenizer=fit, image_size=32, **options)


def test_the_vocabulary_comes_from_the_training_split_only():
    data = module()
    data.setup("fit")
    captions = [c for record in data.records("train") for c in record.captions]
    assert data.tokenizer.to_dict() == WordTokenizer.fit(captions, threshold=2).to_dict()


def test_chinese_captions_are_split_into_characters_without_being_told():
    tokenizer = module(language="zh").tokenizer
    assert tokenizer.kind == "character"
    assert "圆" in tokenizer.decode(tokenizer.encode("一个红色的圆"))


def test_a_given_tokenizer_is_kept():
    data = module()
    given = WordTokenizer.fit(["a red circle left of it"] * 3, threshold=1)
    data.tokenizer = given
    data.setup("fit")
    assert data.dataset("train").tokenizer is given


def test_training_drops_the_ragged_batch_and_validation_keeps_all():
    data = module(batch_size=16)
    data.setup("fit")
    assert [len(batch) for batch in data.train_dataloader()] == [16, 16]
    ids = [i for batch in data.val_dataloader() for i in batch.image_ids]
    assert ids == [record.image_id for record in data.records("val")]


def test_training_order_changes_and_validation_order_does_not():
    data = module(batch_size=8)
    loader = data.train_dataloader()
    orders = [[i for b in loader for i in b.image_ids] for _ in range(2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_batch_is_dealt_to_the_processes(ranks: int, monkeypatch: pytest.MonkeyPatch):
    alone = module(batch_size=8, captions_per_image=2)
    whole = list(alone.train_dataloader())
    data = module(batch_size=8, captions_per_image=2)
    parts = []
    for rank in range(ranks):
        monkeypatch.setattr(CaptionDataModule, "_rank", (rank, ranks))
        parts.append(list(data.train_dataloader()))
    assert [len(part) for part in parts] == [len(whole)] * ranks
    for batch, *dealt in zip(whole, *parts, strict=True):
        assert all(len(part) == 8 // ranks for part in dealt)
        captions = {
            image_id: sorted(map(tuple, tokens.tolist()))
            for image_id, tokens in zip(batch.image_ids, batch.tokens, strict=True)
        }
        for part in dealt:  # the same images, and the same captions of each
            for image_id, tokens in zip(part.image_ids, part.tokens.tolist(), strict=True):
                for own, other in zip(
                    captions.pop(image_id), sorted(map(tuple, tokens)), strict=True
                ):
                    short, long = sorted((own, other), key=len)
                    assert long[: len(short)] == short
                    assert not any(long[len(short) :])
        assert not captions


def test_a_batch_that_cannot_be_dealt_names_one_that_can(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CaptionDataModule, "_rank", (0, 3))
    with pytest.raises(UserError, match=r"data\.batch_size=16 .* all 3 .* data\.batch_size=15"):
        module(batch_size=16).train_dataloader()


def test_truth_is_there_for_drawn_scenes():
    data = module()
    record = data.records("val")[0]
    assert data.truth is not None
    assert data.truth(record.image_id, record.captions[0])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0"),
        ({"captions_per_image": 0}, r"data\.captions_per_image=0"),
        ({"num_workers": -1}, r"data\.num_workers=-1"),
    ],
)
def test_impossible_values_are_refused(options: dict, part: str):
    with pytest.raises(UserError, match=part):
        module(**options)


def test_an_unknown_split_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean 'test'"):
        module().records("tset")
