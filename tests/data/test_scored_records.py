"""Questions and styles in batches: what is read before each caption, and what is scored by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.data import CaptionDataModule
from captionlab.data.collate import Collate, mixed
from captionlab.data.dataset import CaptionDataset
from captionlab.data.images.prepare import Augment
from captionlab.data.records import CaptionRecord
from captionlab.data.scored_records import scored_records
from captionlab.text.prompts import NO_PROMPT, Prompt, control_tokens
from captionlab.text.tokenizers import WordTokenizer

COLOR, SIDE = Prompt(question="What color is it?", id=7), Prompt(question="On the left of what?")
TERSE = Prompt(style="terse")
TEXTS = ("red", "dark red", "a ball", "what color is it", "on the left of what", "right")
WORDS = WordTokenizer.fit(TEXTS, threshold=1).with_controls(control_tokens([COLOR, TERSE]))


class Drawing:
    def __init__(self, value: int) -> None:
        self.value, self.times = value, 0

    def __call__(self) -> np.ndarray:
        self.times += 1
        return np.full((20, 20, 3), self.value, np.uint8)


def asked(image_id="x", value=9) -> CaptionRecord:
    captions = ("red", "a ball", "dark red")
    return CaptionRecord(image_id, Drawing(value), captions, (COLOR, SIDE, COLOR))


def dataset(*records: CaptionRecord, **options) -> CaptionDataset:
    return CaptionDataset(list(records), WORDS, image_size=16, **options)


def ids(prompt: Prompt) -> list[int]:
    return WORDS.encode_prompt(prompt)


def test_a_prompt_goes_with_its_caption():
    plain = CaptionRecord("y", Drawing(1), ("a ball",))
    data = dataset(asked(), plain)
    batch = Collate(WORDS.pad_id)([data[0], data[1]])
    longest = max(len(ids(COLOR)), len(ids(SIDE)))
    assert batch.prompts.shape == (2, 3, longest)
    for k, prompt in enumerate((COLOR, SIDE, COLOR)):
        assert [i for i in batch.prompts[0, k].tolist() if i] == ids(prompt)
    assert not batch.prompts[1].any()
    assert batch.rows is None
    assert batch.tokens[0, 2].tolist()[:4] == [1, *WORDS.encode("dark red"), 2]
    assert torch.equal(batch.to("cpu").prompts, batch.prompts)


def test_drawn_captions_bring_their_own_prompts():
    data = dataset(asked(), captions_per_image=1)
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        example = data[0]
        (caption,), (prompt,) = example.captions, example.prompts
        seen.add((WORDS.decode(caption.tolist()), tuple(prompt.tolist())))
    pairs = zip(asked().captions, asked().prompts, strict=True)
    assert seen == {(text, tuple(ids(prompt))) for text, prompt in pairs}


def test_without_prompts_a_batch_has_none():
    data = dataset(CaptionRecord("y", Drawing(1), ("a ball",)))
    batch = Collate(WORDS.pad_id)([data[0], data[0]])
    assert batch.prompts is None
    assert batch.rows is None
    assert len(batch.images) == 2


def test_each_prompt_of_an_image_is_scored_by_itself():
    plain = CaptionRecord("y", Drawing(1), ("a ball",))
    first, second, third = scored_records([asked(), plain])
    assert (first.image_id, first.captions, first.picture_id) == (7, ("red", "dark red"), "x")
    assert (second.image_id, second.captions) == ("x: On the left of what?", ("a ball",))
    assert (first.stored_id, second.stored_id) == ("x", "x")
    assert third is plain
    assert scored_records([plain]) == [plain]


def test_two_questions_of_one_id_are_refused():
    with pytest.raises(UserError, match="two questions have the id 7, of the images 'x' and 'z'"):
        scored_records([asked(), asked("z")])


def test_an_image_with_several_prompts_is_read_and_encoded_once():
    other = CaptionRecord("y", Drawing(1), ("a ball",))
    record = asked()
    data = dataset(*scored_records([record, other]))
    batch = Collate(WORDS.pad_id)([data[i] for i in range(3)])
    assert record.image.times == 1
    assert batch.rows.tolist() == [0, 0, 1]
    assert len(batch.images) == 2
    assert batch.images[:, 0, 0, 0].tolist() == [9, 1]
    assert len(batch) == 3


def test_equal_ids_without_prompts_keep_their_own_images():
    data = dataset(
        CaptionRecord("y", Drawing(1), ("red",)), CaptionRecord("y", Drawing(5), ("red",))
    )
    batch = Collate(WORDS.pad_id)([data[0], data[1]])
    assert batch.images[:, 0, 0, 0].tolist() == [1, 5]


def test_a_mirror_image_has_questions_of_its_other_side():
    record = CaptionRecord("x", Drawing(9), ("a ball",), (SIDE,))
    data = dataset(record, augment=Augment())
    mirrored = Prompt(question="On the right of what?")
    torch.manual_seed(0)
    seen = {tuple(data[0].prompts[0].tolist()) for _ in range(20)}
    assert seen == {tuple(ids(SIDE)), tuple(ids(mirrored))}


def test_a_mixed_image_has_the_prompts_and_the_references_of_the_captions_it_takes():
    plain = CaptionRecord("y", Drawing(1), ("what color is it", "right", "red"))
    data = dataset(asked(), plain)
    pairs = {
        (caption, tuple(ids(prompt)), scored)
        for caption, prompt, scored in (
            *(("red", COLOR, 7), ("a ball", SIDE, "x: On the left of what?")),
            *(("dark red", COLOR, 7), ("what color is it", NO_PROMPT, "y")),
            *(("right", NO_PROMPT, "y"), ("red", NO_PROMPT, "y")),
        )
    }
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        for example in mixed([data[0], data[1]], 1.0):
            texts = [WORDS.decode(caption.tolist()) for caption in example.captions]
            given = [tuple(prompt.tolist()) for prompt in example.prompts]
            seen |= set(zip(texts, given, example.scored_ids, strict=True))
    assert seen == pairs


class Source:
    language, splits = "en", ("train", "val")

    def records(self, split: str):
        return [asked(f"{split}-{i}") for i in range(1 if split == "val" else 4)] + [
            CaptionRecord(f"{split}-plain", Drawing(1), ("a small ball",))
        ]


def module(**options) -> CaptionDataModule:
    def fit(captions):
        return WordTokenizer.fit(captions, threshold=1)

    return CaptionDataModule(
        name="asked", source=Source(), tokenizer=fit, image_size=16, batch_size=2, **options
    )


def test_rewards_refuse_two_training_questions_of_one_id():
    with pytest.raises(UserError, match="the id 7, of the images 'train-0' and 'train-1'"):
        module().training_ids()


def test_the_vocabulary_holds_questions_and_control_tokens():
    tokenizer = module().tokenizer
    assert "color" in tokenizer.vocabulary
    assert tokenizer.controls == ("<answer>",)
    assert len(module().scored_records("val")) == 3


def test_what_is_scored_needs_neither_a_tokenizer_nor_training_images():
    class ValOnly(Source):
        splits = ("val",)

    data = CaptionDataModule(name="asked", source=ValOnly(), tokenizer=None, image_size=16)
    assert len(data.scored_records("val")) == 3
    assert data.prompt(7) == COLOR


def test_prompts_can_be_left_out():
    data = module(prompts=False)
    assert data.tokenizer.controls == ()
    assert "color" not in data.tokenizer.vocabulary
    assert [record.prompts for record in data.scored_records("val")] == [(), ()]
    assert next(iter(data.train_dataloader())).prompts is None
    assert not NO_PROMPT
