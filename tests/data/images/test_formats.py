"""One list of pictures' endings: each can be opened, and what cannot be is a sentence."""

from pathlib import Path

import pytest
from PIL import Image, features

from captionlab.cli.predict import find_images
from captionlab.data.images.files import BrokenImage, load_image
from captionlab.data.images.formats import PICTURE_ENDINGS
from captionlab.data.readers.listing import list_files
from data_support import photo

NEEDS = {".avif": "avif", ".jp2": "jpg_2000", ".webp": "webp"}  # parts that a Pillow may lack
UNKNOWN = {
    "a.heic": (b"\0\0\0\x18ftypheic", "it is a HEIC photograph: convert it"),
    "a.jxl": (b"\xff\x0a\x01\x02", "it is a JPEG XL photograph: convert it"),
    "a.avif": (b"\0\0\0\x1cftypavif", "it is AVIF, which this Pillow cannot decode"),
    "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "it is JPEG 2000, which this Pillow cannot decode"),
}


@pytest.mark.parametrize("ending", sorted(PICTURE_ENDINGS))
def test_every_ending_is_found_and_opened(tmp_path: Path, ending: str):
    if ending in NEEDS and not features.check(NEEDS[ending]):
        pytest.skip(f"this Pillow opens no {ending}")
    place = tmp_path / f"a{ending.upper()}"
    photo(40, 30).save(place, Image.registered_extensions()[ending])
    assert load_image(place).shape == (3, 30, 40)
    assert find_images([str(tmp_path)]) == [place]
    assert list_files(tmp_path).pictures() == [place.name]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_decoded_is_a_sentence_with_its_file(tmp_path: Path, name, monkeypatch):
    start, reason = UNKNOWN[name]
    (tmp_path / name).write_bytes(start + bytes(100))
    if name in ("a.avif", "a.jp2"):  # as a Pillow without these parts
        Image.init()
        monkeypatch.setattr(Image, "ID", ["JPEG", "PNG"])
    (found,) = find_images([str(tmp_path)])
    with pytest.raises(BrokenImage, match=rf"{name} is no image: {reason}"):
        load_image(found)


def test_a_photograph_that_cannot_be_opened_is_no_second_picture_of_its_name(tmp_path: Path):
    for name in ("a.jpg", "a.heic"):
        (tmp_path / name).touch()
    assert list_files(tmp_path).pictures() == ["a.jpg"]
