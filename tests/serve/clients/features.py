"""What a client is asked to do, in the order of the matrix in docs/serving.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.serve.loopback import Loopback

FEATURES = (
    "models",
    "text",
    "image",
    "audio",
    "video",
    "stream with usage",
    "n=2",
    "stop",
    "logprobs",
    "tools",
    "JSON schema",
    "responses",
    "transcription",
    "early close",
    "error classes",
    "no retries",
)

Check = Callable[[Loopback], None]

COLOURS = ["red", "blue"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": COLOURS}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "paint", "description": "Paint it.", "parameters": SCHEMA},
}
LONG: dict[str, Any] = {"min_tokens": 1900, "max_tokens": 1900}
"""Body of an answer that would take seconds; the client closes it before."""
ENOUGH = 120
"""Tokens that hold any sentence of `SCHEMA`, letter by letter."""


def stops(server: Loopback) -> bool:
    """Say whether the engine ends what it does long before `LONG` is complete."""
    begun = server.engine.state.steps
    # Steps are counted, not seconds: a busy machine takes long for few.
    return server.idle(120.0) and server.engine.state.steps - begun < LONG["min_tokens"] * 3 // 4


def requests_of(server: Loopback, send: Callable[[], None]) -> int:
    """Return how many requests to the server a call makes, refused ones included."""
    before = server.requests
    send()
    return server.requests - before
