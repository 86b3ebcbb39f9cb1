import numpy as np
import pytest
import torch

from captionlab.data.collate import Collate
from captionlab.data.dataset import CaptionDataset, CaptionExample
from captionlab.data.records import CaptionRecord
from captionlab.text.tokenizers import WordTokenizer

CAPTIONS = ("a small dog runs", "one dog", "the dog is on the green grass now")


def drawn(captions: tuple[str, ...] = CAPTIONS) -> CaptionRecord:
    return CaptionRecord("x", lambda: np.full((30, 40, 3), 9, np.uint8), captions)


def test_a_batch_is_image_major_and_padded():
    words = WordTokenizer.fit(CAPTIONS, threshold=1)
    data = CaptionDataset([drawn(), drawn(CAPTIONS[:1])], words, image_size=16)
    batch = Collate(words.pad_id)([data[0], data[1]])
    assert batch.images.shape == (2, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    assert batch.tokens.shape == (2, 3, 10)
    assert batch.lengths.tolist() == [[6, 4, 10], [6, 0, 0]]
    assert batch.tokens[0, 1].tolist()[:4] == [words.bos_id, *words.encode("one dog"), words.eos_id]
    assert (batch.tokens[1, 1:] == words.pad_id).all()
    assert batch.references == [list(CAPTIONS), ["a small dog runs"]]


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
