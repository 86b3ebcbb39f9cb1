from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from captionlab.applications.endpoint.retry import Retry, read_retry_after
from captionlab.applications.endpoint.secret import Secret, read_secret
from captionlab.applications.endpoint.settings import (
    Endpoint,
    is_private,
    read_parameters,
    read_url,
)
from captionlab.core.errors import UserError

KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.mark.parametrize(
    "text",
    ["http://a:1/v1", "http://a:1/v1/", " http://a:1/v1/chat/completions ", "HTTP://A:1/v1//"],
)
def test_an_address_is_the_base_of_its_server(text: str):
    assert read_url(text) == "http://a:1/v1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/v1",
        "ftp://a/v1",
        "http://",
        "http://a:b:c/",
        "http://[::1/",
        "http://\x00/",
        "file:///x",
        "http://a:99999/v1",
        "http://a:0/v1",
        "http://" + "a" * 70 + "/v1",
    ],
)
def test_what_is_no_address_gets_an_example(text: str):
    with pytest.raises(UserError, match="--endpoint wants an address such as"):
        read_url(text)


@pytest.mark.parametrize(
    "text",
    [
        f"https://u:{KEY}@a/v1",
        f"https://a/v1?key={KEY}",
        f"https://a/v1#{KEY}",
        "https://a/v1#",
        "https://a/?",
    ],
)
def test_an_address_with_a_key_in_it_is_refused_and_not_quoted(text: str):
    with pytest.raises(UserError, match="holds more than an address") as error:
        read_url(text)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://a.b/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://a.b/v1", False),
        ("http://192.168.0.2/v1", False),
        ("http://0.0.0.0/v1", False),
        ("http://localhost.evil.com/v1", False),
        ("http://127.0.0.1.evil.com/v1", False),
    ],
)
def test_which_way_nobody_reads(url: str, private: bool):
    assert is_private(read_url(url)) is private


def test_parameters_are_json_or_text_and_null_takes_one_out():
    given = ["temperature=0.5", "max_tokens=null", "stop=END", 'extra={"a": [1]}', "seed=7"]
    assert read_parameters(given) == {
        "temperature": 0.5,
        "stop": "END",
        "extra": {"a": [1]},
        "seed": 7,
    }
    assert read_parameters([]) == {"temperature": 0, "max_tokens": 128}


@pytest.mark.parametrize(
    "text",
    [
        "temperature",
        "=3",
        "a b=3",
        "model=x",
        "messages=[]",
        "stream=true",
        "n=2",
        "x=NaN",
        "x=\udcff",
    ],
)
def test_parameters_that_cannot_be_sent_are_refused(text: str):
    with pytest.raises(UserError, match=r"^--parameter "):
        read_parameters([text])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_side": 0},
        {"concurrency": 0},
        {"concurrency": 1000},
        {"timeout": float("nan")},
        {"model": " "},
        {"model": "x" * 20_001},
        {"model": "\udcff"},
    ],
)
def test_settings_have_bounds(wrong: dict):
    with pytest.raises(UserError, match=f"^--{next(iter(wrong)).replace('_', '-')} "):
        Endpoint(**({"url": "http://a", "model": "m"} | wrong))


@pytest.mark.parametrize("place", ["model", "parameters"])
def test_a_key_among_what_is_written_down_is_refused(place: str):
    value = {"user": KEY} if place == "parameters" else f"x {KEY}"
    with pytest.raises(UserError, match="the key stands among what is asked") as error:
        Endpoint(**({"url": "http://a", "model": "m"} | {place: value, "key": Secret(KEY)}))
    assert KEY not in str(error.value)


def test_the_key_is_read_from_the_environment_alone(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert read_secret(None) is None
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert read_secret(None).header() == {"Authorization": f"Bearer {KEY}"}
    monkeypatch.setenv("OTHER", "another-key")
    assert read_secret("OTHER").header() == {"Authorization": "Bearer another-key"}


@pytest.mark.parametrize("name", [KEY, "gsk_0123456789abcdef", "", "A=B", "NOT_SET"])
def test_a_key_in_the_place_of_its_variables_name_is_not_quoted(name: str):
    with pytest.raises(UserError, match="wants the name of an environment variable") as error:
        read_secret(name)
    assert not name or name not in str(error.value)


@pytest.mark.parametrize(
    "value", ["sk 12345678", "sk-1\n2345678", "schlüssel-12345", "sk\x01-12345678"]
)
def test_a_value_that_no_header_takes_is_not_quoted(monkeypatch, value: str):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UserError, match="OPENAI_API_KEY holds no key") as error:
        read_secret(None)
    assert "12345" not in str(error.value)


def test_waits_double_are_drawn_and_end_at_the_ceiling():
    retry = Retry(first=1.0, ceiling=60.0)
    for failures in range(1, 7):
        delays = [retry.delay(failures, None) for _ in range(50)]
        assert all(2 ** (failures - 2) <= one <= 2 ** (failures - 1) for one in delays)
        assert len(set(delays)) > 1
    assert retry.delay(1, 30.0) == 30.0
    assert retry.delay(1, float("inf")) == retry.delay(20, None) == 60.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("1.5", 1.5), ("-3", 0.0), ("9" * 400, float("inf")), ("nan", None)]
    + [(one, None) for one in ("", "soon", "\x00", "Mon, 99 Foo 20x9 25:61:61", None)],
)
def test_what_retry_after_may_hold(value: str | None, seconds: float | None):
    assert read_retry_after(value) == seconds


def test_retry_after_may_be_a_date():
    then = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < read_retry_after(format_datetime(then, usegmt=True)) <= 100
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
