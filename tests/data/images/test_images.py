import time
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.data.images.check import find_broken
from captionlab.data.images.files import load_image
from captionlab.data.images.prepare import Augment, frame, prepare, swap_sides
from data_support import color_at, photo


@pytest.mark.parametrize(("height", "width"), [(30, 90), (91, 30), (50, 50), (37, 41)])
def test_the_frame_is_where_the_square_lies_on_the_image(height: int, width: int):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    assert frame(height, width, 60, "stretch") == (0, 0, 1, 1)
    left, top, right, bottom = frame(height, width, 60, "crop")
    side = min(height, width)
    assert ((right - left) * width, (bottom - top) * height) == pytest.approx((side, side))
    assert abs(left - (1 - right)) * width <= 1 + 1e-6
    assert abs(top - (1 - bottom)) * height <= 1 + 1e-6
    # the image's own pixels are black, the padding is not
    square = prepare(image, 60, "pad")[0] == 0
    left, top, right, bottom = frame(height, width, 60, "pad")
    y, x = square.any(1).nonzero().flatten(), square.any(0).nonzero().flatten()
    share = [(float(x[0]), left, right), (float(y[0]), top, bottom)]
    for first, start, end in share:
        assert -start / (end - start) * 60 == pytest.approx(first)
    assert len(x) == pytest.approx(60 / (right - left))
    assert len(y) == pytest.approx(60 / (bottom - top))
    with pytest.raises(UserError, match=r"data\.fit='croop': did you mean 'crop'"):
        frame(3, 4, 60, "croop")


def test_fits_show_what_they_promise():
    image = torch.from_numpy(np.array(photo(80, 40))).permute(2, 0, 1)
    stretched = prepare(image, 20, "stretch")
    assert stretched[0, :, :8].float().mean() > 180
    cropped = prepare(image, 40, "crop")
    assert torch.equal(cropped, image[:, :, 20:60])
    padded = prepare(image, 40, "pad")
    assert (color_at(padded, 0, 5), color_at(padded, 39, 5)) == ((124, 116, 104),) * 2
    assert padded[0, 10:30, :15].float().mean() > 180


def test_an_unknown_fit_names_the_choices():
    with pytest.raises(UserError, match=r"data.fit='squeeze'.*crop, pad, stretch"):
        prepare(torch.zeros(3, 4, 4, dtype=torch.uint8), 4, "squeeze")


def test_resizing_is_antialiased():
    stripes = torch.zeros(3, 256, 256, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = prepare(stripes, 32).float()
    assert small.mean() == pytest.approx(127.5, abs=2)
    assert small.std() < 12


def photograph() -> torch.Tensor:
    return torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)


def test_augmentation_is_repeatable_and_bounded():
    image = photograph()
    vary = Augment(brightness=0.4, contrast=0.4, saturation=0.4)
    first, again, other = (
        vary(image, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert first.dtype == torch.uint8
    assert 0.65 * 50 * 70 < first.shape[1] * first.shape[2] <= 50 * 70


def test_augmentation_without_strength_changes_nothing():
    image = photograph()
    assert torch.equal(Augment(flip=False, min_scale=1.0, max_ratio=1.0)(image), image)


@pytest.mark.parametrize(
    ("captions", "flips"),
    [
        (["A dog runs upright in bright light"], True),
        ([], True),
        (["A dog", "A man on the Left of a car"], False),
        (["the rightmost bird"], False),
        (["一只狗在左边"], False),
    ],
)
def test_to_keep_sides_is_to_mirror_no_image_that_has_them(captions: list[str], flips: bool):
    image, vary = photograph(), Augment(sides="keep", min_scale=1.0, max_ratio=1.0)
    seen = [vary(image, captions) for _ in range(40)]
    mirrored = sum(torch.equal(variant, image.flip(-1)) for variant in seen)
    assert all(torch.equal(v, image) or torch.equal(v, image.flip(-1)) for v in seen)
    assert (8 <= mirrored <= 32) if flips else mirrored == 0


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        ("A man on the Left of the rightmost car", "A man on the Right of the leftmost car"),
        ("bright light upright", "bright light upright"),
        ("左边的狗在右边", "右边的狗在左边"),
    ],
)
def test_sides_are_swapped_and_swapped_back(caption: str, other: str):
    assert swap_sides(caption) == other
    assert swap_sides(other) == caption


def test_a_mirror_image_says_that_its_sides_must_be_swapped():
    image, vary = photograph(), Augment(min_scale=1.0, max_ratio=1.0).vary
    for captions in (["a dog"], ["a dog on the left"]):
        for _ in range(20):
            variant, swapped = vary(image, captions)
            mirrored = torch.equal(variant, image.flip(-1))
            assert swapped == (mirrored and "left" in captions[0])


def test_random_operations_change_the_image_by_their_magnitude():
    image = photograph()
    quiet = {"flip": False, "min_scale": 1.0, "max_ratio": 1.0}
    torch.manual_seed(0)
    weak, strong = (
        sum(
            float(
                (Augment(random_operations=2, magnitude=m, **quiet)(image).float() - image)
                .abs()
                .mean()
            )
            for _ in range(20)
        )
        for m in (1, 20)
    )
    assert 0 < weak < strong


def test_color_changes_are_the_textbook_ones():
    image = photograph()
    gray = Augment(flip=False, min_scale=1.0, max_ratio=1.0, saturation=1.0)
    draws = torch.rand(8, generator=torch.Generator().manual_seed(1))
    factor = float(2 * draws[7])
    changed = gray(image, generator=torch.Generator().manual_seed(1)).float()
    luma = (image.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    wanted = (luma + factor * (image.float() - luma)).round().clamp(0, 255)
    assert (changed - wanted).abs().max() <= 1


@pytest.mark.parametrize(
    ("key", "value"), [("min_scale", 0.0), ("max_ratio", 0.5), ("contrast", 2.0), ("mixup", -0.1)]
)
def test_an_impossible_augmentation_names_its_key(key: str, value: float):
    with pytest.raises(UserError, match=f"data.augment.{key}={value}"):
        Augment(**{key: value})


def test_the_real_sample_is_read_in_seconds_and_sound(flickr8k_root: Path):
    paths = sorted((flickr8k_root / "Images").glob("*.jpg"))
    assert len(paths) == 926
    start = time.process_time()
    batch = torch.stack([prepare(load_image(path, size=224), 224) for path in paths])
    assert time.process_time() - start < 10
    assert batch.shape == (926, 3, 224, 224)
    assert find_broken(paths) == {}
