"""How a picture comes in: chosen, dropped, pasted; large ones are made small before they are sent."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from page_support import picture, reload
from PIL import Image

pytestmark = pytest.mark.slow

# a drop or a paste of files: [name, type, base64] each
TRANSFER = """([kind, files]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, {type}));
  }
  const event = kind === "drop"
    ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
  document.querySelector("main").dispatchEvent(event);
}"""


def transfer(page, kind: str, *pictures: dict) -> None:
    files = [
        [one["name"], one["mimeType"], base64.b64encode(one["buffer"]).decode()] for one in pictures
    ]
    page.evaluate(TRANSFER, [kind, files])


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page, server, kind):
    given = picture(64, 48, "PNG", "a.png")
    transfer(page, kind, given, picture())
    page.wait_for_selector(".word")
    assert server.captioned[0].picture == given["buffer"]
    assert page.inner_text("#facts").endswith("the first of 2 files")


def test_a_dropped_link_is_not_followed(page, server):
    transfer(page, "drop")
    assert "links are not followed" in page.inner_text("#failure")
    assert page.is_hidden("#retry")
    assert not server.captioned


def test_a_photo_of_20_megabytes_is_made_small_before_it_is_sent(page, server, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=98, subsampling=0)
    assert buffer.tell() > 20_000_000
    (tmp_path / "large.jpg").write_bytes(buffer.getvalue())
    page.set_input_files("#file", tmp_path / "large.jpg")
    page.wait_for_selector(".word", timeout=30_000)
    sent = Image.open(io.BytesIO(server.captioned[0].picture))
    assert (sent.size, sent.format) == ((1600, 1200), "JPEG")
    assert len(server.captioned[0].picture) < 4_000_000
    assert page.inner_text("#facts").startswith("4000 × 3000, ")


def test_what_the_server_cannot_take_is_made_smaller_still(page, server):
    server.abilities["max_bytes"] = 200_000
    reload(page)
    noise = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    page.set_input_files(
        "#file", {"name": "a.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    page.wait_for_selector(".word")
    assert len(server.captioned[0].picture) <= 200_000


def test_a_photo_lies_as_its_camera_was_held(page, server):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    buffer = io.BytesIO()
    Image.new("RGB", (2400, 1800), "red").save(buffer, "JPEG", exif=exif)
    photo = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    page.set_input_files("#file", photo)
    page.wait_for_selector(".word")
    sent = Image.open(io.BytesIO(server.captioned[0].picture))
    assert sent.size == (1200, 1600)
    assert not sent.getexif()  # nor does its place on Earth leave this device


def test_what_is_transparent_is_sent_on_white(page, server):
    buffer = io.BytesIO()
    Image.new("RGBA", (2000, 1000), (0, 0, 0, 0)).save(buffer, "PNG")
    page.set_input_files(
        "#file", {"name": "a.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    page.wait_for_selector(".word")
    sent = Image.open(io.BytesIO(server.captioned[0].picture))
    assert sent.getpixel((10, 10)) == (255, 255, 255)


def test_what_is_no_picture_is_refused_and_the_next_one_works(page, server):
    page.set_input_files(
        "#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    )
    page.wait_for_selector("text=notes.txt could not be decoded")
    assert page.is_hidden("#retry")
    page.set_input_files("#file", {"name": "0.jpg", "mimeType": "image/jpeg", "buffer": b""})
    page.wait_for_selector("text=0.jpg could not be decoded")
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert page.is_hidden("#failure")
    assert len(server.captioned) == 1


def test_a_phone_offers_its_camera(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.is_visible("#photograph")
    assert page.get_attribute("#camera", "capture") == "environment"
    page.set_input_files("#camera", picture())
    page.wait_for_selector(".word")
