"""Pictures from addresses: fetched from public ones alone, of bounded size, in bounded time.

A name is looked up once, every address behind it is checked, and the connection goes to the address
that was checked: a name that leads elsewhere a moment later (DNS rebinding) changes nothing. Each
redirect is looked at anew.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from captionlab.applications.serve.http import ApiError

MOST_REDIRECTS = 3
LONGEST_ADDRESS = 4_000  # characters
PORTS = {"http": 80, "https": 443}
CHUNK = 64 * 1024

Lookup = Callable[[str, int], Sequence[str]]


def fetch(
    url: str,
    *,
    most_bytes: int,
    seconds: float,
    param: str = "image",
    lookup: Lookup | None = None,
    is_allowed: Callable[[str], bool] | None = None,
) -> bytes:
    """Return what is at a public http or https address.

    Args:
        url: on the usual port, without a name and password.
        most_bytes: what is read at most. seconds: for all of it, redirects included.
        lookup: returns the addresses of a host. is_allowed: says whether one may be asked.

    Raises:
        ApiError: for any other address, a host of this machine or network, and whatever fails.
    """
    end = time.monotonic() + seconds
    allowed = is_allowed or is_public
    for _ in range(MOST_REDIRECTS + 1):
        parts = _checked(url, param)
        address = _address(parts, lookup or resolve, allowed, param)
        try:
            answer = _ask(parts, address, end, most_bytes, param)
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise ApiError(
                400,
                f"{param}: {parts.hostname} gave no picture ({type(error).__name__})",
                param=param,
            ) from None
        if isinstance(answer, bytes):
            return answer
        try:
            url = urljoin(url, answer)
        except ValueError:  # a bracket without its other
            raise ApiError(
                400, f"{param}: {parts.hostname} leads to no address: {answer[:60]!r}", param=param
            ) from None
    raise ApiError(400, f"{param}: the address leads from one to the next too often", param=param)


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet, and of nothing nearer."""
    one = ipaddress.ip_address(address)
    if isinstance(one, ipaddress.IPv6Address):
        # what holds an IPv4 address leads there
        inner = [one.ipv4_mapped, one.sixtofour, *(one.teredo or ())]
        if one in _NAT64:
            inner.append(ipaddress.IPv4Address(int(one) & 0xFFFFFFFF))
        if any(each is not None and not each.is_global for each in inner) or int(one) >> 32 == 0:
            return False
    return one.is_global and not one.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _checked(url: str, param: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    wrong = (
        parts.scheme not in PORTS
        or not parts.hostname
        or parts.username is not None
        or port not in (None, PORTS.get(parts.scheme))
        or len(url) > LONGEST_ADDRESS
        or not url.isascii()
        or any(character.isspace() or not character.isprintable() for character in url)
    )
    if wrong:
        raise ApiError(
            400,
            f"{param}: {url[:60]!r} is no address that is fetched: http:// or https://, the usual port, "
            "no password",
            param=param,
        )
    return parts


def _address(parts: SplitResult, lookup: Lookup, allowed: Callable[[str], bool], param: str) -> str:
    """Return the address to connect to; all of a host must be public, lest chance decides."""
    assert parts.hostname is not None
    try:
        found = lookup(parts.hostname, PORTS[parts.scheme])
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise ApiError(400, f"{param}: there is no host {parts.hostname!r}", param=param)
    if not all(allowed(address) for address in found):
        raise ApiError(
            400, f"{param}: {parts.hostname!r} is of this machine or its network", param=param
        )
    return found[0]


def _ask(parts: SplitResult, address: str, end: float, most_bytes: int, param: str) -> bytes | str:
    """Return what is there, or where it leads."""
    connection = _Connection(parts, address, end)
    # a host that sends a byte a second would never be too late for a single wait
    alarm = threading.Timer(max(0.0, end - time.monotonic()), connection.abort)
    alarm.daemon = True
    alarm.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "captionlab"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return response.getheader("Location", "")
        if response.status != 200:
            raise ApiError(400, f"{param}: {parts.hostname} answers {response.status}", param=param)
        body = _body(response, most_bytes, param)
        if time.monotonic() >= end:  # what is cut off by the alarm looks like an end
            raise TimeoutError
        return body
    finally:
        alarm.cancel()
        connection.close()


def _body(response: http.client.HTTPResponse, most_bytes: int, param: str) -> bytes:
    data = bytearray()
    while chunk := response.read1(CHUNK):
        data += chunk
        if len(data) > most_bytes:
            raise ApiError(
                413,
                f"{param}: there are more than {most_bytes:,} bytes at the address",
                param=param,
            )
    return bytes(data)


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, with the host's name in the request and the TLS."""

    def __init__(self, parts: SplitResult, address: str, end: float) -> None:
        assert parts.hostname is not None
        super().__init__(parts.hostname, PORTS[parts.scheme])
        self._address = address
        self._secure = parts.scheme == "https"
        self._end = end
        # http.client forgets its own while an answer without a length is read
        self._open: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the checked address."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock = socket.create_connection((self._address, self.port), left)
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
        # before the first byte of the other side, which may let each of them wait
        self._open = self.sock
        if time.monotonic() >= self._end:  # the alarm has gone off, and had nothing to end
            raise TimeoutError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def abort(self) -> None:
        """End whatever waits for the other side."""
        if self._open is not None:
            with suppress(OSError):
                self._open.shutdown(socket.SHUT_RDWR)
