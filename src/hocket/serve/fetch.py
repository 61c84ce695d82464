"""Downloads a medium that a request names by URL, from the hosts that the operator allowed.

Nothing is downloaded unless a host is allowed. A URL is parsed once; every address of its host must
be public, the connection goes to an address that was checked, and a redirect is checked like a URL
that somebody sent. Proxies of the environment are not used. Knows URLs and sockets; must not know
what the bytes are.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from urllib.parse import urljoin, urlsplit

from hocket._errors import ConfigError, MediaError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
Connect: TypeAlias = Callable[[tuple[str, int], float], socket.socket]

ANY_HOST = "*"
"""Allows every host whose addresses are public."""

_PORTS = {"https": 443, "http": 80}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label of a name starts with a letter: 0x7f.1, 127.1 and 2130706433 are addresses to some.
_NAME = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_PLAIN = re.compile(r"[!-~]+")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_URL_CHARS = 4096
_MAX_NAME_CHARS = 253
_PIECE_BYTES = 2**16
# Addresses behind which a gateway delivers to the IPv4 address in their last bits.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Python's versions differ in what they call global; these are the open internet at most.
_OPEN = ipaddress.IPv6Network("2000::/3")
_CLOSED = tuple(ipaddress.IPv4Network(one) for one in ("192.0.0.0/24", "192.88.99.0/24"))


class Target(NamedTuple):
    """A URL that was checked, taken apart.

    Attributes:
        scheme: ``https`` or ``http``.
        host: a name in lower case, or an address.
        port: 443 or 80.
        path: path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What may be downloaded.

    Attributes:
        hosts: names that a URL may have, exactly; `ANY_HOST` allows all with public addresses.
            Empty downloads nothing.
        allow_http: allow ``http`` beside ``https``.
        max_bytes: size of one medium.
        max_seconds: time for one medium, redirects included.
        max_redirects: how many are followed.

    Raises:
        ConfigError: a host is not a plain name, or a cap is out of range.
    """

    hosts: tuple[str, ...] = ()
    allow_http: bool = False
    max_bytes: int = 20 * 2**20
    max_seconds: float = 10.0
    max_redirects: int = 3

    def __post_init__(self) -> None:
        """Refuse hosts that no URL could have."""
        for host in self.hosts:
            if host != ANY_HOST and not _NAME.fullmatch(host):
                raise ConfigError(
                    f"allowed media host {host!r}: expected a name in lower case such as "
                    f"images.example.org, without scheme, port or path, or {ANY_HOST}."
                )
        if self.max_bytes < 1 or self.max_seconds <= 0 or self.max_redirects < 0:
            raise ConfigError("media download: sizes and times must be above 0. Correct them.")


class Fetcher:
    """Downloads media.

    Args:
        options: what may be downloaded.
        resolve: returns the addresses of a host and port; the system's resolver by default.
        connect: opens a connection to an address and port within some seconds.
    """

    def __init__(
        self,
        options: FetchOptions,
        *,
        resolve: Resolve | None = None,
        connect: Connect = socket.create_connection,
    ) -> None:
        self.options = options
        self._resolve = resolve or _system_resolve
        self._connect = connect

    def fetch(self, url: str) -> bytes:
        """Return the bytes behind a URL.

        Raises:
            MediaError: the URL is not allowed, leads to an address that is not public, or cannot be
                downloaded within the caps.
        """
        deadline = time.monotonic() + self.options.max_seconds
        for _ in range(self.options.max_redirects + 1):
            target = self.check(url)
            found = self._get(target, self._address(target), deadline)
            if isinstance(found, bytes):
                return found
            url = _joined(target, found)
        raise MediaError(
            f"{_shown(url)}: more than {self.options.max_redirects} redirects. "
            f"Send the URL that they lead to."
        )

    def check(self, url: str) -> Target:
        """Take a URL apart, asking nobody for addresses.

        Raises:
            MediaError: it is not a plain URL, or its scheme, port or host is not allowed.
        """
        if not self.options.hosts:
            raise MediaError(
                f"{_shown(url)}: this server downloads nothing. Send the bytes as a data: URL, or "
                f"have its operator allow the host."
            )
        schemes = ("https", "http") if self.options.allow_http else ("https",)
        target = _parse(url)
        if target.scheme not in schemes:
            raise MediaError(
                f"{_shown(url)}: the scheme is {target.scheme!r}, expected {' or '.join(schemes)}. "
                f"Send the bytes as a data: URL."
            )
        if ANY_HOST not in self.options.hosts and target.host not in self.options.hosts:
            raise MediaError(
                f"{_shown(url)}: the host {target.host!r} is not one that media come from here. "
                f"Send the bytes as a data: URL, or have the operator allow it."
            )
        return target

    def _address(self, target: Target) -> str:
        """Return an address of a host, every one of which is public."""
        literal = _literal(target.host)
        try:
            found = [str(literal)] if literal else list(self._resolve(target.host, target.port))
        except (OSError, UnicodeError) as error:
            raise MediaError(
                f"{target.host}: no address is known for this host. Check the URL."
            ) from error
        if not found:
            raise MediaError(f"{target.host}: the host has no address. Check the URL.")
        for one in found:
            if not _is_public(one):
                raise MediaError(
                    f"{target.host}: its address is not a public one, and media come from public "
                    f"hosts alone. Send the bytes as a data: URL."
                )
        return found[0]

    def _get(self, target: Target, address: str, deadline: float) -> bytes | str:
        """Return the body, or where a redirect leads."""
        seconds = self._left(target, deadline)
        try:
            connection = _Pinned(target, address, seconds, self._connect)
            with closing(connection), _ended_at(connection, deadline):
                headers = {"Accept-Encoding": "identity", "User-Agent": "hocket"}
                connection.request("GET", target.path, headers=headers)
                with connection.getresponse() as response:
                    if response.status in _REDIRECTS:
                        return response.getheader("Location") or ""
                    return self._body(target, response, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._left(target, deadline)
            raise MediaError(
                f"{target.host}: the medium cannot be downloaded ({type(error).__name__}). "
                f"Try again or send the bytes as a data: URL."
            ) from error

    def _body(self, target: Target, response: http.client.HTTPResponse, deadline: float) -> bytes:
        if response.status != http.client.OK:
            raise MediaError(
                f"{target.host}: the host answers with status {response.status}, expected 200. "
                f"Check the URL."
            )
        most = self.options.max_bytes
        body = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            body += piece
            self._left(target, deadline)
            if len(body) > most:
                raise MediaError(
                    f"{target.host}: the medium has more than {most} bytes. Send a smaller one."
                )
        self._left(target, deadline)
        if response.length:
            raise MediaError(
                f"{target.host}: the download ended {response.length} bytes early. Try again."
            )
        return bytes(body)

    def _left(self, target: Target, deadline: float) -> float:
        """Return the seconds that are left, if any."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise MediaError(
                f"{target.host}: no whole medium within {self.options.max_seconds:g} s. "
                f"Send the bytes as a data: URL."
            )
        return left


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked; the name is for the host to read."""

    def __init__(self, target: Target, address: str, seconds: float, connect: Connect) -> None:
        super().__init__(target.host, target.port, timeout=seconds)
        self.default_port = target.port  # the Host header names no usual port
        self._target, self._seconds = target, seconds
        self._checked = (address, target.port)
        self._connect_to = connect

    def connect(self) -> None:
        """Connect, with TLS where the scheme asks for it."""
        self.sock = self._connect_to(self._checked, self._seconds)
        if self._target.scheme == "https":
            # Known here before the handshake, so that its time can be over too.
            self.sock = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self._target.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()


@contextmanager
def _ended_at(connection: http.client.HTTPConnection, deadline: float) -> Iterator[None]:
    """Shut a connection down when its time is over, however slowly bytes come."""

    def end() -> None:
        # It may be closed already, or by the other end at this moment.
        if connection.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(deadline - time.monotonic(), 0.0), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _parse(url: str) -> Target:
    """Take a URL apart in the one way that everything here uses.

    Raises:
        MediaError: parsers could disagree about it.
    """
    plain = len(url) <= _MAX_URL_CHARS and _PLAIN.fullmatch(url) and "\\" not in url
    if not plain or not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", url):
        raise _refused(url, "is not a plain absolute URL")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise _refused(url, "has a host or port that cannot be read") from error
    if "@" in parts.netloc:
        raise _refused(url, "names a user, which is not sent")
    host = host.removesuffix(".")
    literal = _literal(host)
    in_brackets = "[" in parts.netloc
    is_name = not in_brackets and len(host) <= _MAX_NAME_CHARS and _NAME.fullmatch(host)
    if not is_name and (literal is None or in_brackets != (literal.version == 6)):
        raise _refused(url, "has a host that is neither a plain name nor a plain address")
    scheme = parts.scheme.lower()
    expected = _PORTS.get(scheme, 0)
    if parts.netloc.endswith(":") or (port is not None and port != expected):
        raise _refused(url, f"has a port other than {expected or 'its usual one'}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, str(literal or host), expected, path)


def _literal(host: str) -> Address | None:
    try:
        # Only the usual spelling: no octal, no short forms, no zone.
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_public(address: str) -> bool:
    """Say whether an address, and any address inside it, belongs to the open internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(one) for one in _inside(found))


def _is_global(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _OPEN
    return not any(address in network for network in _CLOSED)


def _inside(address: Address) -> Iterator[Address]:
    """Yield an address and those that are written inside it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return
    for one in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if one is not None:
            yield one
    if not address.ipv4_mapped:
        yield address


def _joined(target: Target, location: str) -> str:
    """Return the URL that a redirect leads to."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    try:
        return urljoin(f"{target.scheme}://{host}{target.path}", location)
    except ValueError as error:
        raise _refused(location, "is where a redirect leads, and no URL") from error


def _refused(url: str, why: str) -> MediaError:
    return MediaError(f"{_shown(url)} {why}. Send https://host/path, or the bytes as a data: URL.")


def _shown(url: str) -> str:
    short = url if len(url) <= 80 else f"{url[:77]}..."
    return repr(short)


def _system_resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
