"""A second source of training pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionlab.build import build_data
from captionlab.core.errors import UserError
from captionlab.data.mixing import Extra
from captionlab.data.readers.shapes import Shapes, ShapesQuestions
from captionlab.data.readers.tables import CsvCaptions
from data_support import write_text
from tests_support import tiny_config


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


def test_questions_keep_their_ids_apart_from_those_of_the_data():
    own, other = (
        ShapesQuestions(seed=seed, train_size=3, val_size=1, test_size=1) for seed in (0, 1)
    )
    added = Extra(source=other).records(own)
    ids = [prompt.id for record in [*own.records("train"), *added] for prompt in record.prompts]
    assert len(ids) == len(set(ids))
    assert "extra-train-0-color-0" in ids


def test_what_cannot_be_added_is_said():
    chinese = Shapes(language="zh", train_size=4, val_size=2, test_size=2)
    with pytest.raises(UserError, match="one captioner writes one language"):
        Extra(source=chinese).records(Shapes(train_size=4, val_size=2, test_size=2))
    with pytest.raises(UserError, match=r"data\.extra\.share=1\.0 must be between 0 and 1"):
        Extra(source=chinese, share=1.0)


def test_an_image_that_is_scored_is_not_trained_on(tmp_path: Path):
    def table(name: str, *rows: str) -> CsvCaptions:
        text = "\n".join(["image,caption,split", *rows]) + "\n"
        file = write_text(tmp_path / name, text)
        return CsvCaptions(file=str(file), root=str(tmp_path))

    own = table("own.csv", "a.jpg,A dog,train", "b.jpg,A cat,val")
    good = table("good.csv", "a.jpg,A dog,train", "c.jpg,A cow,train")
    assert len(Extra(source=good).records(own)) == 2
    leak = table("leak.csv", "c.jpg,A cow,train", "b.jpg,A cat,train")
    with pytest.raises(UserError, match=r"train on .*b\.jpg, which the data keep .*'val'"):
        Extra(source=leak).records(own)
