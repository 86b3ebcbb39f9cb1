"""The built-in pictures in three styles."""

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.data import CaptionDataModule
from captionlab.data.readers import Shapes, ShapesStyles
from captionlab.shapes.styles import STYLES
from captionlab.text import WordTokenizer
from captionlab.text.prompts import NO_PROMPT, Prompt


@pytest.fixture(scope="module")
def source():
    return ShapesStyles(train_size=60, val_size=12, test_size=12)


def test_scenes_and_pictures_are_those_of_shapes(source):
    plain = Shapes(train_size=60, val_size=12, test_size=12)
    for split in plain.splits:
        ours, theirs = source.records(split)[3], plain.records(split)[3]
        assert ours.image_id == theirs.image_id
        assert source.scene(ours.image_id) == plain.scene(theirs.image_id)
        assert np.array_equal(ours.image(), theirs.image())


def test_each_image_has_true_captions_of_each_style(source):
    for record in source.records("train"):
        styles = [prompt.style for prompt in record.prompts]
        assert styles == [style for style in STYLES for _ in range(2)]
        assert len(set(record.captions)) == 6
        for caption, prompt in zip(record.captions, record.prompts, strict=True):
            assert source.truth(record.image_id, caption)
            scores = source.caption_scores(record.image_id, caption, prompt)
            facts = 1.0 if prompt.style == "paragraph" else None
            assert scores == {"style_obeyed": 1.0, "fact_precision": facts, "fact_recall": facts}


def test_more_captions_of_a_style_change_none_before():
    more = ShapesStyles(captions_per_style=10).records("val")[0].captions
    fewer = ShapesStyles(captions_per_style=2).records("val")[0].captions
    assert [more[0], more[1], more[10], more[11]] == list(fewer[:4])
    assert more == ShapesStyles(captions_per_style=10).records("val")[0].captions


def test_another_style_is_not_obeyed_and_no_prompt_is_not_scored(source):
    terse, _, ornate, *_ = source.records("val")[0].captions
    for caption, asked, obeyed in (
        (terse, "ornate", 0),
        (ornate, "terse", 0),
        (ornate, "ornate", 1),
    ):
        scores = source.caption_scores("val-0", caption, Prompt(style=asked))
        assert scores["style_obeyed"] == obeyed
    for prompt in (NO_PROMPT, Prompt(style="rhymed"), Prompt(question="what is there?")):
        assert set(source.caption_scores("val-0", terse, prompt).values()) == {None}
    asked = Prompt(style="paragraph")
    assert source.caption_scores("val-0", "", asked) == dict.fromkeys(source.score_names, 0.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"language": "de"}, "language='de': the styles are written in English alone; say"),
        ({"captions_per_style": 11}, "captions_per_style=11: a whole number from 1 to 10"),
        ({"train_size": 0}, "train_size=0"),
    ],
)
def test_an_impossible_value_is_named(options, sentence):
    with pytest.raises(UserError, match=sentence):
        ShapesStyles(**options)


def test_each_style_of_an_image_is_scored_by_itself(source):
    data = CaptionDataModule(
        name="shapes_styles", source=source, tokenizer=WordTokenizer.fit, image_size=32
    )
    scored = data.scored_records("val")
    assert len(scored) == 36
    assert data.score_names == source.score_names
    for record in scored:
        caption = record.captions[0]
        assert data.truth(record.image_id, caption)
        assert data.caption_scores(record.image_id, caption)["style_obeyed"] == 1.0
        other = next(r for r in scored if r.prompts[0] != record.prompts[0])
        assert data.caption_scores(other.image_id, caption)["style_obeyed"] == 0.0
    assert data.tokenizer.controls == ("<style:ornate>", "<style:paragraph>", "<style:terse>")


def test_a_source_without_scores_of_its_own_brings_none():
    data = CaptionDataModule(
        name="shapes", source=Shapes(train_size=20), tokenizer=WordTokenizer.fit, image_size=32
    )
    assert data.score_names == ()
