"""Who may ask: keys, hosts, origins, sizes; and the headers of every answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.serve.loopback import Loopback, ask, serving

from hocket._errors import ConfigError, MachineError
from hocket.serve.app import ServeOptions
from hocket.serve.keys import Keys, read_keys
from hocket.serve.limits import ServeLimits
from hocket.serve.run import bind

KEY = "a-key-of-the-tests"
GUARDED = ("/v1/models", "/metrics", "/openapi.json", "/v1/nothing")
OPEN = ("/health", "/v1/health", "/ready", "/ping", "/version")


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    options = ServeOptions(
        keys=Keys([KEY, "another-key-here"]),
        origins=("https://chat.example.org",),
        limits=ServeLimits(body_bytes=2000),
    )
    with serving(options) as found:
        yield found


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong-key-here", f"Basic {KEY}"])
def test_nothing_is_said_without_a_key(server: Loopback, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    found = httpx.get(server.url + path, headers=headers)
    assert found.status_code == 401
    assert found.json()["error"]["type"] == "authentication_error"
    assert found.headers["www-authenticate"] == "Bearer"


def test_posts_need_a_key(server: Loopback) -> None:
    for path in ("/v1/chat/completions", "/tokenize", "/detokenize", "/v1/audio/transcriptions"):
        assert httpx.post(server.url + path, json=ask("x")).status_code == 401


def test_any_of_the_keys_opens(server: Loopback) -> None:
    for key in (KEY, "another-key-here"):
        found = httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"bearer {key}"})
        assert found.status_code == 200


def test_a_key_does_not_learn_what_another_one_asked(server: Loopback) -> None:
    def cached(key: str) -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        body = ask("the same words " * 6)
        found = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers)
        return bool(found.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert not cached(KEY)
    assert cached(KEY)
    assert not cached("another-key-here")


@pytest.mark.parametrize("path", OPEN)
def test_health_is_open(server: Loopback, path: str) -> None:
    assert httpx.get(server.url + path).status_code == 200


@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:8000", "127.0.0.1.x", ""])
def test_other_names_of_this_machine_are_refused(server: Loopback, host: str) -> None:
    found = httpx.get(f"{server.url}/health", headers={"Host": host})
    assert found.status_code == 403
    assert found.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:80", "127.0.0.1:9"])
def test_names_of_this_machine_are_taken(server: Loopback, host: str) -> None:
    assert httpx.get(f"{server.url}/health", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_may_not_ask(server: Loopback) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://evil.example.org"}
    found = httpx.post(
        f"{server.url}/v1/audio/transcriptions", headers=headers, files={"file": b""}
    )
    assert found.status_code == 403
    assert found.json()["error"]["code"] == "origin_not_allowed"
    # A page of another site may not read what it may get.
    found = httpx.get(f"{server.url}/v1/models", headers=headers)
    assert "access-control-allow-origin" not in found.headers


def test_pages_that_are_named_may_ask(server: Loopback) -> None:
    origin = "https://chat.example.org"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    # What OpenAI's package for JavaScript sends from a page.
    asked["Access-Control-Request-Headers"] = "authorization,content-type,x-stainless-os"
    found = httpx.options(f"{server.url}/v1/chat/completions", headers=asked)
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == origin
    assert "x-stainless-os" in found.headers["access-control-allow-headers"]
    asked["Origin"] = "https://evil.example.org"
    found = httpx.options(f"{server.url}/v1/chat/completions", headers=asked)
    assert "access-control-allow-origin" not in found.headers
    headers = {"Authorization": f"Bearer {KEY}", "Origin": origin}
    found = httpx.post(f"{server.url}/v1/chat/completions", headers=headers, json=ask("x"))
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == origin


def test_a_body_that_is_too_large_is_refused(server: Loopback) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    found = httpx.post(f"{server.url}/tokenize", headers=headers, content=b" " * 3000)
    assert found.status_code == 413
    assert found.json()["error"]["code"] == "body_too_large"
    # Without a length, it is counted as it comes.
    pieces = (b" " * 500 for _ in range(10))
    found = httpx.post(f"{server.url}/tokenize", headers=headers, content=pieces)
    assert found.status_code == 413
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}


def test_every_answer_has_headers_against_misuse(server: Loopback) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        headers = httpx.get(server.url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-request-id"].startswith("req_")


def test_other_machines_need_a_key() -> None:
    with pytest.raises(ConfigError, match="no API key keeps them out"):
        bind("0.0.0.0", 0, Keys())
    bind("0.0.0.0", 0, Keys([KEY])).close()
    bind("0.0.0.0", 0, Keys(), no_auth=True).close()


def test_a_port_that_is_taken_is_told() -> None:
    with bind("127.0.0.1", 0, Keys()) as first:
        first.listen()
        with pytest.raises(MachineError, match="cannot listen on"):
            bind("127.0.0.1", first.getsockname()[1], Keys())


def test_keys_come_from_text_and_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst-key-here\n\nsecond-key-here\n")
    keys = read_keys("third-key-here, fourth-key-here", file)
    names = [
        keys.name_of(f"Bearer {one}-key-here") for one in ("third", "fourth", "first", "second")
    ]
    assert names == ["key-1", "key-2", "key-3", "key-4"]
    assert keys.name_of("Bearer fifth-key-here") is None
    assert not read_keys(None, None)


@pytest.mark.parametrize("key", ["short", "with space in it", "\u00fcmlaut-key-here"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        Keys([key])


def test_a_file_without_keys_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# none\n")
    with pytest.raises(ConfigError, match="no API key"):
        read_keys(None, file)
    with pytest.raises(MachineError):
        read_keys(None, tmp_path / "missing")
