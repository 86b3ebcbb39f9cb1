"""Odd uploads: none of them is more than one bad request."""

from __future__ import annotations

import gc
import io
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from serve_support import application, client_of, files_of, picture, uri

PATH = "/v1/caption"
FEW, MANY = 200, 10_000
EXPECTED = {200, 400, 413, 415}
MOST_GROWTH = 64 * 2**20  # bytes, over thousands of requests
FORMS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
MODES = ("RGB", "L", "RGBA", "P", "CMYK", "I;16", "F", "1", "LA")
SIZES = ((1, 1), (1000, 1), (1, 1000), (64, 48), (300, 200), (33, 31), (3000, 10))


def odd_uploads(seed: int, count: int) -> Iterator[tuple[str, dict]]:
    """Yield what is odd about a request, and the request."""
    chance = random.Random(seed)
    whole = list(whole_pictures(chance))
    for _ in range(count):
        name, data = chance.choice(whole)
        change = chance.choice(CHANGES)
        data = change(chance, data)
        yield f"{change.__name__} {name}", request_of(chance, data)


def whole_pictures(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for form in FORMS:
        for mode in MODES:
            size = chance.choice(SIZES)
            values = np.frombuffer(chance.randbytes(size[0] * size[1]), np.uint8)
            image = Image.fromarray(values.reshape(size[1], size[0])).convert("RGB")
            try:
                image = (
                    image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
                )
                file = io.BytesIO()
                image.save(file, form)
            except (OSError, ValueError):
                continue
            yield f"{mode} {form} {size}", file.getvalue()
    frames = [Image.new("RGB", (40, 30), (shade, 0, 0)) for shade in range(0, 250, 50)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:])
        yield f"animated {form}", file.getvalue()


def as_it_is(chance: random.Random, data: bytes) -> bytes:
    return data


def truncated(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def mutated(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def with_a_huge_size(chance: random.Random, data: bytes) -> bytes:
    """Overwrite four bytes of the head, where formats keep widths and heights."""
    place = chance.randrange(min(len(data), 40))
    return data[:place] + b"\x7f\xff\xff\xff" + data[place + 4 :]


def with_another_head(chance: random.Random, data: bytes) -> bytes:
    head = chance.choice(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF", b"II*\0", b"BM")
    )
    return head + data[len(head) :]


def no_picture(chance: random.Random, data: bytes) -> bytes:
    return chance.choice(
        (
            b"",
            b"\0" * 3000,
            chance.randbytes(500),
            b"<html><script>alert(1)</script>",
            b"%PDF-1.4",
            b"PK\3\4",
        )
    )


def twice(chance: random.Random, data: bytes) -> bytes:
    return data + data


CHANGES = (
    as_it_is,
    truncated,
    mutated,
    mutated,
    with_a_huge_size,
    with_another_head,
    no_picture,
    twice,
)


def request_of(chance: random.Random, data: bytes) -> dict:
    """Return how a picture is sent, mostly as one does."""
    way = chance.randrange(12)
    if way == 0:
        return {"json": {"image": uri(data), "attention": True}}
    if way == 1:
        return {"json": {"image": uri(data)[: chance.randrange(30)]}}
    if way == 2:
        return {"content": data, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    if way == 3:
        return {"content": data, "headers": {"Content-Type": "application/json"}}
    if way == 4:
        field = chance.choice(("num_captions", "begin", "decoding", "x" * 50, "forced_words"))
        return {
            "files": files_of(data),
            "data": {field: chance.choice(("", "-1", "\u202e", "a" * 900))},
        }
    return {"files": files_of(data)}


def send_all(client: TestClient, seed: int, count: int) -> Counter[int]:
    """Send odd uploads, with good ones among them; return how often each status came."""
    statuses: Counter[int] = Counter()
    good = client.post(PATH, files=files_of()).json()["results"]
    for number, (name, request) in enumerate(odd_uploads(seed, count)):
        answer = client.post(PATH, **request)
        statuses[answer.status_code] += 1
        assert answer.status_code in EXPECTED, (name, answer.status_code, answer.text[:300])
        if answer.status_code != 200:
            message = answer.json()["error"]["message"]
            assert message, name
            assert "\n" not in message, name
        if number % 50 == 0:
            assert client.post(PATH, files=files_of()).json()["results"] == good, name
    return statuses


@pytest.fixture(scope="module")
def quick() -> Iterator[TestClient]:
    with client_of(application(max_pixels=2_000_000)) as client:
        yield client


def test_an_odd_upload_is_one_bad_request(quick):
    statuses = send_all(quick, seed=1, count=FEW)
    assert statuses.total() == FEW
    assert min(statuses[200], statuses[400], statuses[415]) > 10, statuses


def resident() -> int:
    """Return this process's memory in bytes."""
    gc.collect()
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.slow
def test_ten_thousand_odd_uploads_leave_the_memory_level(quick):
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc tells the memory of a process here")
    statuses = send_all(quick, seed=2, count=MANY // 5)
    before = resident()
    for seed in range(3, 7):
        statuses += send_all(quick, seed=seed, count=MANY // 5)
    grown = resident() - before
    print(f"{dict(statuses)}; {grown / 2**20:.1f} MB more after the last {MANY * 4 // 5:,}")
    assert statuses.total() == MANY
    assert grown < MOST_GROWTH


@pytest.mark.slow
def test_large_uploads_leave_the_memory_level():
    with client_of(application()) as client:
        large = picture(3000, 2500, "RGB", "PNG")
        for _ in range(20):
            assert client.post(PATH, files=files_of(large)).status_code == 200
        before = resident()
        for _ in range(100):
            assert client.post(PATH, files=files_of(large)).status_code == 200
            assert client.post(PATH, content=b"x" * 10_000_000).status_code == 415
        # one more thread that decodes is a step of 60 MB; pictures that stayed would be 2 GB
        assert resident() - before < 4 * MOST_GROWTH
