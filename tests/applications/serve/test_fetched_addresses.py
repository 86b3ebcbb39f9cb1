"""Pictures from addresses: of public hosts alone."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from captionlab.applications.serve import addresses
from captionlab.applications.serve.addresses import fetch, is_public
from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.service import FETCHERS
from serve_support import application, client_of, picture, uri

PUBLIC = "93.184.216.34"
SETTINGS = {"most_bytes": 1000, "seconds": 5.0}


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
        ),
        *(
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
        ),
        *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        "fe80::1%1",
    ],
)
def test_addresses_of_this_machine_and_its_network_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://example.org/a",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "gopher://example.org",
        ),
        *("http://user:pw@example.org/", "http://example.org:22/", "https://example.org:80/"),
        *(
            "http://exa mple.org/",
            "http://example.org/\r\nX: y",
            "http://[::1",
            "http://é.example/",
        ),
        "http://example.org/" + "a" * 5000,
    ],
)
def test_odd_addresses_are_refused_before_anything_is_asked(url):
    with pytest.raises(ApiError, match="no address that is fetched"):
        fetch(url, **SETTINGS, lookup=lambda *_: pytest.fail("looked up"))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "0"]
)
def test_this_machine_is_not_asked_by_any_of_its_names(host):
    with pytest.raises(ApiError, match=r"of this machine or its network|there is no host"):
        fetch(f"http://{host}/", **SETTINGS)


def test_a_host_with_one_private_address_is_refused():
    with pytest.raises(ApiError, match="of this machine"):
        fetch("http://example.org/", **SETTINGS, lookup=lambda *_: [PUBLIC, "10.0.0.1"])


@contextmanager
def host(answer) -> Iterator[list[str]]:
    """Serve ``answer(handler)`` on this machine, in place of every host and port; gives what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(addresses, "PORTS", {"http": server.server_address[1]})
            yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def local(url: str, **settings: object) -> bytes:
    """Fetch as if this machine were a public host."""
    settings = (
        SETTINGS | {"lookup": lambda *_: ["127.0.0.1"], "is_allowed": lambda one: True} | settings
    )
    return fetch(url, **settings)


def test_a_host_that_answers_the_connection_too_late_gets_no_more_time(monkeypatch):
    connect, sent, most = addresses.socket.create_connection, [], 100

    def late(address: tuple[str, int], seconds: float) -> object:
        connection = connect(address, seconds)
        threading.Event().wait(seconds + 0.2)  # as far as that takes it, and a greeting of TLS
        return connection

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while len(sent) < most:
                handler.wfile.write(b"x")
                sent.append(1)
                threading.Event().wait(0.05)

    monkeypatch.setattr(addresses.socket, "create_connection", late)
    with host(trickle), pytest.raises(ApiError, match="gave no picture"):
        local("http://photos.example/", seconds=0.3)
    assert len(sent) < most


def test_a_picture_is_fetched_from_the_address_that_was_checked():
    lookups = []

    def lookup(name: str, port: int) -> list[str]:
        lookups.append(name)
        return ["127.0.0.1"]

    with host(lambda handler: send(handler, b"picture")) as asked:
        assert local("http://photos.example/a.png?b=1", lookup=lookup) == b"picture"
    assert lookups == ["photos.example"]  # no second look-up, that could lead elsewhere
    assert asked[0].startswith("photos.example")
    assert asked[0].endswith("/a.png?b=1")


def test_a_redirect_is_checked_like_an_address():
    def redirect(handler) -> None:
        send(handler, b"", 302, Location="http://inside.example/secret")

    with (
        host(redirect) as asked,
        pytest.raises(ApiError, match=r"'inside.example' is of this machine"),
    ):
        local(
            "http://photos.example/",
            lookup=lambda name, port: ["127.0.0.1" if name == "photos.example" else "127.0.0.2"],
            is_allowed=lambda address: address == "127.0.0.1",
        )
    assert len(asked) == 1
    with (
        host(lambda one: send(one, b"", 302, Location="file:///etc/passwd")),
        pytest.raises(ApiError),
    ):
        local("http://photos.example/")
    with (
        host(lambda one: send(one, b"", 302, Location="http://[x")),
        pytest.raises(ApiError, match="leads to no address"),
    ):
        local("http://photos.example/")
    again = host(lambda one: send(one, b"", 302, Location="/again"))
    with again as asked, pytest.raises(ApiError, match="too often"):
        local("http://photos.example/")
    assert len(asked) == addresses.MOST_REDIRECTS + 1


def test_size_and_time_are_bounded():
    with host(lambda handler: send(handler, b"x" * 1001)), pytest.raises(ApiError) as caught:
        local("http://photos.example/")
    assert caught.value.status_code == 413

    def drip(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:
            return

    with host(drip), pytest.raises(ApiError, match="TimeoutError"):
        local("http://photos.example/", seconds=0.2, most_bytes=10**9)
    with (
        host(lambda handler: send(handler, b"", 404)),
        pytest.raises(ApiError, match="answers 404"),
    ):
        local("http://photos.example/")


def test_a_server_fetches_only_where_it_was_allowed(monkeypatch):
    address = "http://photos.example/a.png"
    monkeypatch.setattr("captionlab.applications.serve.service.fetch", lambda url, **_: picture())
    with client_of(application()) as client:
        answer = client.post("/v1/caption", json={"image": address})
        assert "--allow-urls" in answer.json()["error"]["message"]
    with client_of(application(allow_urls=True)) as client:
        fetched = client.post("/v1/caption", json={"images": [address, uri()]})
        assert fetched.json()["results"][0] == fetched.json()["results"][1]


def test_no_more_fetched_pictures_wait_than_threads_fetch(monkeypatch):
    fetched, begun, go_on = [], threading.Semaphore(0), threading.Event()

    def fake(url: str, **_: object) -> bytes:
        fetched.append(url)
        begun.release()
        return picture()

    monkeypatch.setattr("captionlab.applications.serve.service.fetch", fake)
    service = application(allow_urls=True).state.service
    count = FETCHERS + 4

    async def read() -> None:
        reads = [service._read(f"http://photos.example/{n}", "image") for n in range(count)]
        together = asyncio.gather(*reads)
        for _ in range(FETCHERS):
            await asyncio.to_thread(begun.acquire)
        # a ninth thread there is not, and the eight wait for theirs to be decoded
        assert len(fetched) == FETCHERS
        go_on.set()
        await together

    for _ in range(service.settings.image_threads):
        service.pool.submit(go_on.wait, 20)
    asyncio.run(read())
    service.close()
    assert len(fetched) == count
