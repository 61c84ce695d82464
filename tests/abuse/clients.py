"""Clients that are slow, lie about what they send, or go away in the middle."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tests.abuse.suite import Case, Expected, Size, Suite
from tests.serve.loopback import MODEL, Loopback, serving

_Scenario = Callable[[Loopback], list[socket.socket]]

_SCENARIOS = 11
_TOKENS = 64
_HALF_OPEN = 100
_CROWD = 200
_SECONDS = 20.0


def _body(*, stream: bool, tokens: int = _TOKENS) -> bytes:
    message = {"role": "user", "content": "Count."}
    asked = {"model": MODEL, "messages": [message], "max_tokens": tokens, "stream": stream}
    return json.dumps(asked).encode()


def _head(length: int, *more: str) -> bytes:
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield disconnects at every moment of a request, then clients that hold on to connections."""
    with serving() as server:
        for number in range(count - _SCENARIOS):
            case = partial(_goes_away, server, random.Random(number))
            yield Case(f"disconnect {number}", case, Expected.ANSWERED)
        yield Case("slots after all disconnects", partial(_free, server), Expected.ANSWERED)
        for name, scenario in (
            ("half a header each", _half_open),
            ("a byte of body a second", _drips),
            ("more headers than allowed", _many_headers),
            ("a header longer than allowed", _long_header),
            ("a chunk that lies", _chunk_lies),
            ("two lengths", _two_lengths),
            ("a body that never comes", _no_body),
            ("two hundred at once", _crowd),
            ("a request that asks for everything", _greedy),
        ):
            yield Case(name, partial(_others_are_served, server, scenario), Expected.ANSWERED)
        yield Case("slots at the end", partial(_free, server), Expected.ANSWERED)


def _connected(server: Loopback) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname or "", place.port or 0), _SECONDS)


def _goes_away(server: Loopback, rng: random.Random) -> str:
    """Send a part of a request, or read a part of its answer, and reset or close."""
    data = _body(stream=rng.random() < 0.5)
    whole = _head(len(data)) + data
    with closing(_connected(server)) as link:
        if rng.random() < 0.3:
            link.sendall(whole[: rng.randrange(len(whole))])
        else:
            link.sendall(whole)
            time.sleep(rng.choice((0, 0, 0.005, 0.05)))
            if rng.random() < 0.4:
                link.recv(rng.choice((1, 100, 1000)))
        if rng.random() < 0.5:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "gone"


def _free(server: Loopback) -> int:
    assert server.idle(_SECONDS), f"a slot is taken: {server.engine.state}"
    return server.service.admission.active


def _others_are_served(
    server: Loopback, scenario: Callable[[Loopback], list[socket.socket]]
) -> int:
    """Let one be answered while others behave badly."""
    links = scenario(server)
    try:
        begun = time.monotonic()
        body = _body(stream=False, tokens=2)
        kind = {"Content-Type": "application/json"}
        url = f"{server.url}/v1/chat/completions"
        answer = httpx.post(url, content=body, headers=kind, timeout=_SECONDS, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - begun < _SECONDS / 2
        return answer.status_code
    finally:
        for link in links:
            link.close()


def _half_open(server: Loopback) -> list[socket.socket]:
    links = [_connected(server) for _ in range(_HALF_OPEN)]
    for link in links:
        link.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    return links


def _drips(server: Loopback) -> list[socket.socket]:
    data = _body(stream=False)
    links = [_connected(server) for _ in range(20)]
    for at in range(3):
        for link in links:
            link.sendall(_head(len(data)) + data[:1] if not at else data[at : at + 1])
        time.sleep(0.05)
    return links


def _crowd(server: Loopback) -> list[socket.socket]:
    """Ask 200 times at once: all are answered, or told when to come again."""
    data = _body(stream=False, tokens=4)
    links = [_connected(server) for _ in range(_CROWD)]
    for link in links:
        link.sendall(_head(len(data), "Connection: close") + data)
    for link in links:
        found = b"".join(iter(partial(link.recv, 65536), b""))
        status = int(found.split()[1])
        assert status in (200, 429), found[:200]
        assert status == 200 or b"\nretry-after: " in found.lower(), found[:400]
    return links


def _greedy(server: Loopback) -> list[socket.socket]:
    """Send what takes long to read, and let others be answered meanwhile."""
    words = "hello " * 200_000
    bodies = (
        {"messages": [{"role": "user", "content": words}]},
        {"messages": [{"role": "user", "content": "x"}] * 100_000},
        {
            "messages": [{"role": "user", "content": "x"}],
            "logit_bias": dict.fromkeys(range(10**5), 1),
        },
        {"messages": [{"role": "user", "content": "x"}], "response_format": _schema(50_000)},
    )
    links = []
    for body in bodies:
        data = json.dumps(body).encode()
        links.append(_connected(server))
        links[-1].sendall(_head(len(data)) + data)
    return links


def _schema(choices: int) -> dict[str, object]:
    schema = {"enum": [str(number) * 10 for number in range(choices)]}
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _refused(server: Loopback, data: bytes) -> list[socket.socket]:
    link = _connected(server)
    link.sendall(data)
    found = link.recv(65536)
    status = int(found.split()[1]) if found else 400
    assert 400 <= status < 500, found[:200]
    return [link]


def _many_headers(server: Loopback) -> list[socket.socket]:
    return _refused(server, _head(2, *(f"X-{number}: y" for number in range(10_000))) + b"{}")


def _long_header(server: Loopback) -> list[socket.socket]:
    return _refused(server, _head(2, "X: " + "y" * 1_000_000) + b"{}")


def _chunk_lies(server: Loopback) -> list[socket.socket]:
    head = _head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return _refused(server, head + b"zzzz\r\n{}\r\n0\r\n\r\n")


def _two_lengths(server: Loopback) -> list[socket.socket]:
    return _refused(server, _head(2, "Content-Length: 50") + b"{}")


def _no_body(server: Loopback) -> list[socket.socket]:
    links = [_connected(server) for _ in range(50)]
    for link in links:
        link.sendall(_head(100_000))
    return links


SUITE = Suite(
    name="slow clients and disconnects",
    tries="clients that go away at any moment; half-open, dripping and lying ones",
    means="others are answered meanwhile; every slot is free afterwards",
    counts={Size.CI: 20 + _SCENARIOS, Size.NIGHTLY: 1000 + _SCENARIOS},
    cases=cases,
    seconds=30.0,
)
