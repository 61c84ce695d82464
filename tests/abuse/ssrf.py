"""URLs that try to make the server connect where it must not."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.abuse.suite import Case, Expected, Size, Suite, words

from hocket.serve.fetch import ANY_HOST, Fetcher, FetchOptions

PUBLIC = "93.184.216.34"

# Addresses that are not public, in the spellings that one parser or another reads.
LITERALS = words("""
127.0.0.1 127.1 127.0.1 0 0.0.0.0 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001
0x7f.1 127.0.0.1. 127.000.000.001 127.0.0.0x1 00000177.0.0.1 127.255.255.254 10.0.0.1 10.1
167772161 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1 0xc0a80001 3232235521 169.254.169.254
2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 169.254.170.2 100.64.0.1 100.100.100.200
198.18.0.1 192.0.0.1 192.0.2.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 0.0.0.1 [::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1]
[::127.0.0.1] [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:0:127.0.0.1] [fd00::1]
[fd00:ec2::254] [fc00::1] [fe80::1] [fe80::1%25lo] [fe80::1%eth0] [fec0::1] [ff02::1]
[64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::10.0.0.1] [2002:7f00:1::] [2002:a9fe:a9fe::]
[2001:0:7f00:1::] [2001:db8::1] [100::1] [::ffff:10.0.0.1] [0000::1] [::1%25] [v1.a]
""")

# What the resolver of the attacker's name says.
RESOLVED = words("""
127.0.0.1 127.0.0.53 0.0.0.0 10.0.0.5 172.16.5.5 192.168.1.1 169.254.169.254 100.64.1.1 192.0.0.8
198.18.0.1 224.0.0.251 240.0.0.1 255.255.255.255 ::1 :: fd00::1 fe80::1 fe80::1%lo ff02::1
::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::a00:1 2002:7f00:1:: 2001:db8::1
2001:0:7f00:1:: ::127.0.0.1 fec0::1 100::1 not-an-address
""")

CONFUSING = (
    "https://public.example\\@127.0.0.1/",
    "https://127.0.0.1\\@public.example/",
    "https://public.example@127.0.0.1/",
    "https://127.0.0.1@public.example/",
    "https://user:pass@public.example/",
    "https://@public.example/",
    "https://public.example:80@127.0.0.1/",
    "https://public.example#@127.0.0.1\\/",
    "https:///127.0.0.1/",
    "https:/127.0.0.1/",
    "https:127.0.0.1/",
    "//127.0.0.1/",
    "///127.0.0.1/",
    "https://",
    "https:///",
    "https://?x",
    "https://#x",
    "https://:443/",
    "https://.",
    "https://..",
    "https://public..example/",
    "https://.public.example/",
    "https://-public.example/",
    "https://public.example-/",
    "https://public.example,127.0.0.1/",
    "https://public.example;127.0.0.1/",
    "https://public.example|127.0.0.1/",
    "https://public.example%00.127.0.0.1/",
    "https://public.example%2f@127.0.0.1/",
    "https://127.0.0.1%23.public.example/",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://[::1/",
    "https://::1/",
    "https://[127.0.0.1]/",
    "https://[::1].public.example/",
    "https://[public.example]/",
    "https://public.example[::1]/",
    "https://public.example\r\nHost: 127.0.0.1/",
    "https://public.example/\r\nX: y",
    "https://public.example/ HTTP/1.1\r\nHost: localhost",
    "https://pub\tlic.example/",
    "https://pub\nlic.example/",
    "\thttps://public.example/",
    " https://public.example/",
    "https://public.example /",
    "https://public.example\0/",
    "https://public.example\x7f/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://127\u30020\u30020\u30021/",
    "https://127\uff0e0\uff0e0\uff0e1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://loc\u00adalhost/",
    "https://\u24db\u24de\u24d2\u24d0\u24db/",
    "https://public.example\u2024example/",
    "https://pub\u0131ic.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 130 + "example/",
    "https://public.example/" + "a" * 5000,
    "https://public.example:0x50/",
    "",
    "https",
    "public.example/a.png",
    "?",
)

SCHEMES = words(r"""
file:///etc/passwd file://localhost/etc/passwd FILE:///etc/passwd file:/etc/passwd
ftp://public.example/ gopher://127.0.0.1:6379/_INFO dict://127.0.0.1:11211/stats ldap://127.0.0.1/
jar:https://public.example!/ data://text/plain,x javascript:alert(1) vbscript:x ws://127.0.0.1/
wss://public.example/ s3://bucket/key gs://bucket/key unix:///var/run/docker.sock
http+unix://%2fvar%2frun%2fdocker.sock/ tftp://127.0.0.1/x sftp://127.0.0.1/x smb://127.0.0.1/x
\\127.0.0.1\share mailto:a@b.example concat:a|b view-source:https://public.example/
netdoc:///etc/passwd php://filter/x expect://id phar://x blob:https://a.example/1 about:blank
""")

PORTS = words(
    "0 1 22 23 25 53 81 110 444 2375 3306 5432 6379 8000 8080 9200 11211 27017 65535 65536 -1 "
    "99999999999 x 443x"
)

TARGETS = (
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://inside.example/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "https://public.example:6379/",
    "https://public.example@127.0.0.1/",
    "gopher://127.0.0.1/",
    "https://0x7f000001/",
)
CODES = (301, 302, 303, 307, 308)


class Host:
    """A listener on loopback that plays the public host, and the wire to it.

    Attributes:
        reached: the addresses that were connected to.
    """

    def __init__(self, *answers: bytes) -> None:
        self.reached: list[str] = []
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connect(self, address: tuple[str, int], seconds: float) -> socket.socket:
        """Note where the connection would go, and lead it to the listener."""
        self.reached.append(address[0])
        return socket.create_connection(self._listener.getsockname(), seconds)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _serve(self) -> None:
        while self._answers:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                link.recv(65536)
                link.sendall(self._answers.pop(0))


def fetcher(host: Host, *resolved: Sequence[str]) -> Fetcher:
    """Return a fetcher that may go anywhere public; answers of the resolver, the last for ever."""
    answers = itertools.chain(resolved, itertools.repeat(resolved[-1] if resolved else [PUBLIC]))

    def resolve(name: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if name == "inside.example" else next(answers)

    options = FetchOptions(hosts=(ANY_HOST,), allow_http=True, max_bytes=1000, max_seconds=2.0)
    return Fetcher(options, resolve=resolve, connect=host.connect)


def attempt(url: str, *resolved: Sequence[str], answers: Sequence[bytes] = ()) -> bytes:
    """Fetch a URL; whatever comes of it, only the public address may have been reached."""
    host = Host(*answers)
    try:
        return fetcher(host, *resolved).fetch(url)
    finally:
        host.close()
        assert set(host.reached) <= {PUBLIC}, f"reached {host.reached}"
        assert len(host.reached) == len(answers), f"reached {host.reached}"


def redirect(code: int, target: str) -> bytes:
    """Return an answer that leads elsewhere."""
    return f"HTTP/1.1 {code} x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()


def good(body: bytes = b"picture") -> bytes:
    """Return an answer with a body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield the cases, those of the same kind in a row."""
    return itertools.islice(_all(), count)


def _all() -> Iterator[Case]:
    def refused(name: str, url: str, *resolved: Sequence[str], **more: Sequence[bytes]) -> Case:
        return Case(f"{name} {url!r} {resolved}"[:300], lambda: attempt(url, *resolved, **more))

    for one in LITERALS:
        yield refused("address", f"https://{one}/a.png")
    for one in RESOLVED:
        yield refused("name of", "http://evil.example/", [one])
    for one in RESOLVED[:12]:
        yield refused("one of two", "https://evil.example/", [PUBLIC, one])
    for one in (*CONFUSING, *SCHEMES):
        yield refused("text", one)
    for one in PORTS:
        yield refused("port", f"https://public.example:{one}/")
    for code, target in itertools.product(CODES, TARGETS):
        yield refused("redirect", f"http://public.example/{code}?{target}",
                      answers=[redirect(code, target)])  # fmt: skip
    yield refused("redirects", "http://public.example/",
                  answers=[redirect(302, "http://public.example/")] * 4)  # fmt: skip
    yield refused("rebinding by redirect", "http://public.example/", [PUBLIC], ["127.0.0.1"],
                  answers=[redirect(302, "/b")])  # fmt: skip
    yield refused("nowhere", "http://public.example/", [])
    yield refused("http to a port of https", "http://public.example:443/")
    yield refused("https to a port of http", "https://public.example:80/")
    yield from _answers()
    for one in LITERALS:
        yield refused("plain", f"http://{one}:80/latest/meta-data/")


def _answers() -> Iterator[Case]:
    """Yield hosts that lie, and some that do not."""
    for name, answer in (
        ("longer than allowed", good(b"x" * 2000)),
        ("endless header", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n"),
        ("long header", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000 + b"\r\n\r\n"),
        ("no status", b"hello\r\n\r\n"),
        ("ends early", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nabc"),
        ("chunk that lies", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc"),
        ("not found", b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n"),
        ("server error", b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"),
        ("part of it", b"HTTP/1.1 206 x\r\nContent-Length: 2\r\n\r\nab"),
        ("nothing", b""),
        ("redirect to nowhere", b"HTTP/1.1 302 x\r\nLocation: https://[\r\n\r\n"),
    ):
        yield Case(f"host: {name}", lambda a=answer: attempt("http://a.example/", answers=[a]))
    for name, resolved in (("public", [[PUBLIC]]), ("rebinding", [[PUBLIC], ["127.0.0.1"]])):
        yield Case(
            f"host: {name}",
            lambda r=resolved: attempt("http://a.example/x", *r, answers=[good()]),
            Expected.ANSWERED,
        )
    yield Case(
        "host: a redirect to the same host",
        lambda: attempt("http://a.example/x", answers=[redirect(307, "y"), good()]),
        Expected.ANSWERED,
    )


SUITE = Suite(
    name="ssrf",
    tries="URLs that lead inside: spellings of addresses, names, redirects, rebinding",
    means="no connection but to the public host that was checked",
    counts={Size.CI: 374, Size.NIGHTLY: 374},
    cases=cases,
    seconds=5.0,
)
