"""Clients that begin and never end are let go, whatever they are doing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message
from tests.serve.loopback import Loopback, ask, serving

from hocket.serve import gate, patience, stream
from hocket.serve.stream import EventStream

SOON, LATE = 0.2, 30.0
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def connected(server: Loopback) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname or "", place.port or 0), LATE)


def end_of(link: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    found = b""
    try:
        while more := link.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("begun", ["", "PO", HEAD])
def test_a_head_that_never_ends(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", SOON)
    with closing(connected(server)) as link:
        link.sendall(begun.encode())
        assert end_of(link) == b""


def test_a_second_head_that_never_ends(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", SOON)
    with closing(connected(server)) as link:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /he")
        assert end_of(link).startswith(b"HTTP/1.1 200")


def test_an_answer_may_take_longer_than_a_head(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", SOON)
    monkeypatch.setattr(gate, "BODY_SECONDS", SOON)
    body = ask("Hi", max_tokens=400, min_tokens=400)
    found = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert found.json()["usage"]["completion_tokens"] == 400


def test_a_body_that_never_ends(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", SOON)
    with closing(connected(server)) as link:
        link.sendall(f"{HEAD}Content-Length: 100\r\n\r\n{{".encode())
        link.settimeout(LATE)
        assert link.recv(65536).startswith(b"HTTP/1.1 408")
    assert server.idle(LATE)


def test_a_stream_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALL_SECONDS", SOON)
    closed: list[bool] = []

    async def frames() -> AsyncIterator[str]:
        yield "data: x\n\n"

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await never()

    async def play() -> None:
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await EventStream(frames(), lambda: closed.append(True))(scope, never, send)

    asyncio.run(asyncio.wait_for(play(), LATE))
    assert closed == [True]
