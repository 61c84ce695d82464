"""Downloads: what is allowed, TLS to the checked address, and the end of patience.

URLs that lead inside are the suite ``ssrf`` of ``tests/abuse``.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hocket._errors import ConfigError, MediaError
from hocket.serve.fetch import ANY_HOST, Fetcher, FetchOptions

PUBLIC = "93.184.216.34"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"
Serve = Callable[[socket.socket], None]


@contextmanager
def host(serve: Serve) -> Iterator[tuple[str, int]]:
    """Listen on loopback for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            try:
                link, _ = listener.accept()
                with link:
                    serve(link)
            except OSError:
                return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield listener.getsockname()
    thread.join(5)


def fetch(url: str, place: tuple[str, int], **options: object) -> bytes:
    chosen = {"hosts": (ANY_HOST,), "allow_http": True, **options}
    return Fetcher(
        FetchOptions(**chosen),  # type: ignore[arg-type] # any options
        resolve=lambda name, port: [PUBLIC],
        connect=lambda address, seconds: socket.create_connection(place, seconds),
    ).fetch(url)


def plain(link: socket.socket) -> None:
    assert b"Host: a.example\r\n" in link.recv(65536)
    link.sendall(GOOD)


def test_a_medium_comes() -> None:
    with host(plain) as place:
        assert fetch("http://a.example/x?y", place) == b"picture"


@pytest.mark.parametrize("at_start", [True, False])
def test_a_host_that_drips_is_left(at_start: bool) -> None:
    def drip(link: socket.socket) -> None:
        link.recv(65536)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        if not at_start:
            link.sendall(head)
        for byte in head if at_start else b"x" * 100:
            link.sendall(bytes([byte]))
            time.sleep(0.1)

    start = time.monotonic()
    with host(drip) as place, pytest.raises(MediaError, match=r"within 0\.5 s"):
        fetch("http://a.example/", place, max_seconds=0.5)
    assert time.monotonic() - start < 3


def test_only_hosts_that_are_allowed() -> None:
    with host(plain) as place:
        assert fetch("http://A.example./x", place, hosts=("a.example",)) == b"picture"
    for url in ("http://b.example/", "http://a.example.b.example/", "http://xa.example/"):
        with pytest.raises(MediaError, match="not one that media come from"):
            fetch(url, ("127.0.0.1", 1), hosts=("a.example",))
    with pytest.raises(MediaError, match="scheme is 'http'"):
        fetch("http://a.example/", ("127.0.0.1", 1), allow_http=False)
    with pytest.raises(MediaError, match="downloads nothing"):
        Fetcher(FetchOptions()).fetch("https://a.example/")


@pytest.mark.parametrize("name", ["https://a.example", "a.example/", "A.example", "127.0.0.1", ""])
def test_wrong_hosts(name: str) -> None:
    with pytest.raises(ConfigError, match="media host"):
        FetchOptions(hosts=(name,))


def test_tls_goes_to_the_address_and_asks_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl for a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    name = ["-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", *kind, *files, *name]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(link: socket.socket) -> None:
        with context.wrap_socket(link, server_side=True) as safe:
            plain(safe)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with host(serve) as place:
        assert fetch("https://a.example/", place) == b"picture"
    with host(serve) as place, pytest.raises(MediaError, match="SSLCertVerificationError"):
        fetch("https://b.example/", place)
    with (
        host(lambda link: time.sleep(3)) as place,
        pytest.raises(MediaError, match=r"within 0\.5 s"),
    ):
        fetch("https://a.example/", place, max_seconds=0.5)
