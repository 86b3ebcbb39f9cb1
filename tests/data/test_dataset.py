from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.data.dataset import CaptionDataset, CaptionExample, Collate, EvaluationSampler
from captionlab.data.images.prepare import Augment
from captionlab.data.records import CaptionRecord
from captionlab.text.tokenizers import WordTokenizer

CAPTIONS = ("a small dog runs", "one dog", "the dog is on the green grass now")


def tokenizer() -> WordTokenizer:
    return WordTokenizer.fit(CAPTIONS, threshold=1)


def drawn(captions: tuple[str, ...] = CAPTIONS, color: int = 9) -> CaptionRecord:
    return CaptionRecord("x", lambda: np.full((30, 40, 3), color, np.uint8), captions)


def dataset(records: list[CaptionRecord], **options) -> CaptionDataset:
    return CaptionDataset(records, tokenizer(), image_size=16, **options)


def test_a_batch_is_image_major_and_padded():
    words = tokenizer()
    data = dataset([drawn(), drawn(CAPTIONS[:1])])
    batch = Collate(words.pad_id)([data[0], data[1]])
    assert batch.images.shape == (2, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    assert batch.tokens.shape == (2, 3, 10)
    assert batch.lengths.tolist() == [[6, 4, 10], [6, 0, 0]]
    assert batch.tokens[0, 1].tolist()[:4] == [words.bos_id, *words.encode("one dog"), words.eos_id]
    assert (batch.tokens[1, 1:] == words.pad_id).all()
    assert batch.references == [list(CAPTIONS), ["a small dog runs"]]


def test_long_captions_are_cut_but_end():
    words = tokenizer()
    example = dataset([drawn()], max_length=2)[0]
    assert [len(caption) for caption in example.captions] == [4, 4, 4]
    assert all(caption[-1] == words.eos_id for caption in example.captions)


def test_a_random_subset_of_captions_changes_and_repeats_none():
    data = dataset([drawn()], captions_per_image=2)
    seen = set()
    for _ in range(30):
        lengths = sorted(len(caption) for caption in data[0].captions)
        assert lengths in ([4, 6], [4, 10], [6, 10])
        seen.add(tuple(lengths))
    assert len(seen) == 3


def test_cached_images_are_read_once(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 20), (200, 0, 0)).save(path)
    record = CaptionRecord(1, path, CAPTIONS)
    cached, fresh = dataset([record], cache=True), dataset([record])
    first = cached[0].image
    path.unlink()
    assert torch.equal(cached[0].image, first)
    with pytest.raises(Exception, match=r"a\.png"):
        fresh[0]


def test_a_mirror_image_has_captions_of_its_other_side():
    half = np.zeros((8, 8, 3), dtype=np.uint8)
    half[:, :4] = 255
    caption = "a red light on the left not on the right"
    record = CaptionRecord("a", lambda: half, (caption,))
    words = WordTokenizer.fit([caption], threshold=1)
    mild = Augment(min_scale=1.0, max_ratio=1.0)
    data = CaptionDataset([record], words, image_size=8, augment=mild)
    seen = set()
    for _ in range(30):
        example = data[0]
        side = "left" if example.image[0, 4, 0] > 128 else "right"
        seen.add(side)
        assert example.references[0].split()[5] == side
        assert words.decode(example.captions[0][1:].tolist()).split()[5] == side
    assert seen == {"left", "right"}


def test_augmented_images_are_never_cached():
    pixels = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    record = CaptionRecord("x", lambda: pixels, ("a dog on the left",))
    data = dataset([record], cache=True, augment=Augment(min_scale=0.3))
    assert not torch.equal(data[0].image, data[0].image)


def test_mixed_images_hold_both_and_their_captions_come_in_the_same_shares():
    """Images of one value each: what a mixed one holds of its own tells its share."""
    torch.manual_seed(0)
    captions = [torch.tensor([1, 5, 2])] * 400, [torch.tensor([1, 6, 7, 2])] * 400
    values = (200, 100)
    examples = [
        CaptionExample(torch.full((3, 4, 4), value, dtype=torch.uint8), own, value, ["a"])
        for value, own in zip(values, captions, strict=True)
    ]
    shares = []
    for _ in range(20):
        batch = Collate(0, mixup=1.0)(examples)
        assert batch.image_ids == [200, 100]
        assert batch.images.dtype == torch.uint8
        for image, own, tokens in zip(batch.images, values, batch.tokens, strict=True):
            assert image.unique().numel() == 1
            share = 1 - abs(float(image[0, 0, 0]) - own) / 100
            of_itself = (tokens[:, 1] == (5 if own == 200 else 6)).float().mean()
            assert float(of_itself) == pytest.approx(share, abs=0.1)
            shares.append(share)
    assert min(shares) >= 0.49
    # Beta(1, 1) is uniform, and the larger part of a uniform cut is 3/4 on average
    assert sum(shares) / len(shares) == pytest.approx(0.75, abs=0.07)
    assert torch.equal(Collate(0)(examples).images[0], examples[0].image)


def test_a_picture_for_people_keeps_its_proportions_and_is_read_once(tmp_path: Path):
    Image.new("RGB", (400, 100), "red").save(tmp_path / "a.png")
    data = dataset([CaptionRecord("a", tmp_path / "a.png", CAPTIONS), drawn()], fit="crop")
    assert data.picture(0, 80).shape == (3, 20, 80)
    assert data.picture(1, 80).shape == (3, 30, 40)  # never larger than it is
    (tmp_path / "a.png").unlink()
    assert data.picture(0, 80).shape == (3, 20, 80)
    assert dataset([drawn()], blank=True).picture(0, 80).unique().tolist() == [127]


def test_blank_images_show_nothing():
    one, two = dataset([drawn(color=9), drawn(color=200)], blank=True)
    assert torch.equal(one.image, two.image)
    assert one.image.unique().numel() == 1


@pytest.mark.parametrize(("size", "ranks"), [(7, 2), (8, 2), (2, 4), (9, 4)])
def test_every_rank_gets_equally_many_items_and_all_are_there(size: int, ranks: int):
    dealt = [list(EvaluationSampler(size, rank, ranks)) for rank in range(ranks)]
    assert len({len(items) for items in dealt}) == 1
    assert {i for items in dealt for i in items} == set(range(size))
