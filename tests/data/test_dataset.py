from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.data.dataset import CaptionDataset
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


def test_long_captions_are_cut_but_end():
    words = tokenizer()
    example = dataset([drawn()], max_length=2)[0]
    assert [len(caption) for caption in example.captions] == [4, 4, 4]
    assert all(caption[-1] == words.eos_id for caption in example.captions)


def test_captions_are_the_same_at_each_access():
    data = dataset([drawn(), CaptionRecord("y", drawn().image, ("one dog",))], max_length=3)
    for index in (0, 1):
        first, again = data.encoded(index), data.encoded(index)
        assert len(first) == len(again) == len(data.records[index].captions)
        for one, other in zip(first, again, strict=True):
            assert one.dtype == other.dtype == torch.int64
            assert torch.equal(one, other)


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
