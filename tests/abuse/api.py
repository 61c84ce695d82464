"""Bodies, headers and paths of requests that no client would send."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from tests.abuse.door import data_url
from tests.abuse.seeds import pictures, sounds
from tests.abuse.suite import Case, Expected, Size, Suite
from tests.serve.loopback import MODEL, Loopback, serving

from hocket._errors import DataError

_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308, 1e-308,
    "", " ", "a", "\0", "\ud7ff", "\x1b[2J", "A" * 5000, "../..", "<image>", "{{1}}", "null", "1",
    [], {}, [[]], [{}], [None], {"": None}, {"a": {"b": [1]}}, ["a"] * 100,
)  # fmt: skip
_PARTS = (
    "text", "input_text", "image_url", "input_image", "input_audio", "audio_url", "video_url",
    "input_video", "file", "input_file", "refusal", "nothing", "", None, 5,
)  # fmt: skip
_ROLES = ("user", "user", "user", "system", "assistant", "tool", "developer", "root", "", None, 3)
_PATHS = (
    "/v1/chat/completions", "/v1/chat/completions", "/v1/completions", "/v1/responses",
    "/tokenize", "/detokenize",
)  # fmt: skip
_GETS = (
    "/v1/models", "/v1/models/toy", "/v1/models/nothing", "/v1/models/..%2f..", "/health", "/ready",
    "/metrics", "/version", "/openapi.json", "/", "/page/", "/page/..%2fapp.py", "/page/../app.py",
    "/page/%2e%2e/app.py", "/nothing", "/%00", "/v1/chat/completions", "//etc/passwd",
)  # fmt: skip


def _value(rng: random.Random, depth: int = 0) -> Any:
    if depth < 3 and rng.random() < 0.15:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 3 and rng.random() < 0.15:
        return {rng.choice("abcde"): _value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice(_SCALARS)


def _reference(rng: random.Random) -> Any:
    return rng.choice(
        (
            data_url(rng.choice(pictures())),
            data_url(rng.choice(sounds()), "audio/wav"),
            data_url(rng.randbytes(50)),
            "https://127.0.0.1/",
            "file:///etc/passwd",
            "data:,",
            rng.choice(_SCALARS),
            {"url": data_url(rng.choice(pictures()))},
            {"data": rng.choice(_SCALARS), "format": "wav"},
            {"file_id": "x"},
            {"file_data": data_url(pictures()[0])},
        )
    )


def _part(rng: random.Random) -> Any:
    kind = rng.choice(_PARTS)
    key = kind if isinstance(kind, str) and rng.random() < 0.8 else "url"
    text = rng.random() < 0.3
    return {"type": kind, key or "x": rng.choice(_SCALARS) if text else _reference(rng)}


def _message(rng: random.Random) -> Any:
    if rng.random() < 0.1:
        return rng.choice(_SCALARS)
    parts = [_part(rng) for _ in range(rng.randrange(3))]
    content = rng.choice(("hello", parts, rng.choice(_SCALARS)))
    return {"role": rng.choice(_ROLES), "content": content}


def body(rng: random.Random) -> Any:
    """Return a body that is right but for some of it."""
    if rng.random() < 0.05:
        return _value(rng)
    found: dict[str, Any] = {
        "model": MODEL,
        "messages": [_message(rng) for _ in range(rng.choice((1, 1, 2, 3, 0)))],
        "prompt": rng.choice(("hello", rng.choice(_SCALARS))),
        "input": rng.choice(("hello", [_message(rng)], rng.choice(_SCALARS))),
        "tokens": rng.choice(([1, 2], rng.choice(_SCALARS))),
        "max_tokens": 1,
        "max_output_tokens": 1,
    }
    names = (
        "model", "messages", "max_tokens", "temperature", "top_p", "top_k", "n", "stop", "seed",
        "stream", "stream_options", "logprobs", "top_logprobs", "logit_bias", "response_format",
        "tools", "tool_choice", "presence_penalty", "chat_template", "chat_template_kwargs", "echo",
        "max_completion_tokens", "stop_token_ids", "user", "unknown", "prompt", "input", "tokens",
        "repetition_penalty", "min_p", "thinking_budget", "text", "reasoning", "instructions",
    )  # fmt: skip
    for name in rng.sample(names, rng.choice((0, 1, 1, 2, 3))):
        found[name] = _value(rng)
    return found


def _bytes(rng: random.Random) -> bytes:
    plain = json.dumps(body(rng)).encode()
    roll = rng.random()
    if roll < 0.05:
        return plain[: rng.randrange(len(plain))]
    if roll < 0.07:
        return b"[" * 50_000
    if roll < 0.09:
        return b'{"messages": ' + b"9" * 50_000 + b"}"
    if roll < 0.11:
        return rng.randbytes(100)
    return plain


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield requests; an answer is right whatever it says, but for its shape and status."""
    with (
        serving() as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        for path in _GETS:
            yield Case(f"GET {path}", partial(_asked, client, "GET", path, b""), Expected.EITHER)
        for number in range(count - len(_GETS) - 1):
            rng = random.Random(number)
            path, data = rng.choice(_PATHS), _bytes(rng)
            case = partial(_asked, client, "POST", path, data)
            yield Case(f"POST {path} {number}", case, Expected.EITHER)
        yield Case("all slots are free", partial(_free, server), Expected.ANSWERED)


def _asked(client: httpx.Client, method: str, path: str, data: bytes) -> str:
    headers = {"Content-Type": "application/json"} if data else {}
    answer = client.request(method, path, content=data, headers=headers)
    assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:300]} for {data[:600]!r}"
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert {"message", "type", "param", "code"} == set(error), answer.text[:300]
        assert isinstance(error["message"], str), answer.text[:300]
        assert "Traceback" not in error["message"], error["message"]
        raise DataError(error["message"])
    return answer.text


def _free(server: Loopback) -> int:
    assert server.idle(20), "a slot is taken"
    return server.service.admission.active


SUITE = Suite(
    name="API fuzz",
    tries="bodies for every endpoint with wrong types, sizes, media, depth and bytes",
    means="no 5xx; every error has OpenAI's shape; all slots are free afterwards",
    counts={Size.CI: 600, Size.NIGHTLY: 10_000},
    cases=cases,
    seconds=30.0,
)
