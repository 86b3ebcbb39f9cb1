"""Bodies of requests taken apart."""

import pytest

from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.uploads import (
    MOST_FIELD_BYTES,
    MOST_HEADER_BYTES,
    MOST_PARTS,
    parse_form,
    parse_json,
)

TYPE = "multipart/form-data; boundary=x"
FILE = b'Content-Disposition: form-data; name="image"; filename="a.png"'


def body(*parts: tuple[bytes, bytes]) -> bytes:
    return (
        b"".join(b"--x\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
        + b"--x--\r\n"
    )


def field(name: str, value: bytes = b"1") -> tuple[bytes, bytes]:
    return f'Content-Disposition: form-data; name="{name}"'.encode(), value


def test_files_and_fields_keep_their_order():
    form = parse_form(
        body((FILE, b"one"), field("a", "é".encode()), (FILE, b"\r\n--two"), field("a")), TYPE
    )
    assert form.images == [b"one", b"\r\n--two"]
    assert form.fields == {"a": ["é", "1"]}


def test_a_picture_under_another_name_is_told_its_own():
    with pytest.raises(ApiError, match=r"imag: this is no text .* a picture is sent as") as caught:
        parse_form(body((FILE.replace(b'"image"', b'"imag"'), b"\xff\xd8")), TYPE)
    assert caught.value.param == "imag"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (body(*[field("a")] * (MOST_PARTS + 1)), TYPE),
        (body(field("a", b"x" * (MOST_FIELD_BYTES + 1))), TYPE),
        (body((b"X: " + b"y" * MOST_HEADER_BYTES + b"\r\n" + FILE, b"")), TYPE),
        (body((b"\r\n".join(b"X%d: y" % i for i in range(900)) + b"\r\n" + FILE, b"")), TYPE),
        (body(field("a", b"\xff")), TYPE),
        (body(field("a"))[:-6], TYPE),
        (body((FILE, b"x" * 100))[:60], TYPE),
        (b"", TYPE),
        (b"--y\r\n\r\n", TYPE),
        (b"--x\r\nno header\r\n\r\n", TYPE),
        (body(field("a")), "multipart/form-data"),
        (body(field("a")), "multipart/form-data; boundary=" + "x" * 5000),
        (body(field("a")), 'multipart/form-data; boundary="\udcff"'),
    ],
)
def test_a_form_without_end_or_bounds_is_refused(data, kind):
    with pytest.raises(ApiError) as caught:
        parse_form(data, kind)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"\xff", b"nothing", b'{"a": 1}}', b"[" * 15_000, b'{"a":' * 15_000),
        *(b"[" + b"0," * 30_000 + b"0]", b"1" * 5000, b"[" * 15_000 + b"]" * 15_000),
    ],
)
def test_json_is_bounded_in_depth_and_number(data):
    with pytest.raises(ApiError) as caught:
        parse_json(data)
    assert caught.value.status_code == 400
    assert len(caught.value.message) <= 300


def test_json_is_read():
    assert parse_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
