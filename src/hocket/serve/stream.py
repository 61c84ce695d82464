"""Server-sent events: frames as OpenAI's clients read them, and a response that always cleans up.

Knows texts and ASGI; must not know what is streamed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from hocket.serve.errors import ApiError

DONE = "data: [DONE]\n\n"
"""Ends a stream of chats and completions."""
STALL_SECONDS = 60.0
"""How long a client may leave a stream unread before it counts as gone."""
WAITING = ": waiting\n\n"
"""A comment that clients skip, so that nobody between takes the connection for dead."""


def frame(data: dict[str, Any], *, event: str = "") -> str:
    """Return one event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


class EventStream(StreamingResponse):
    """A stream of events.

    Args:
        frames: the events; an `ApiError` that they raise becomes the last one.
        close: called when the stream is over, however it ends, even before it began.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[str], close: Callable[[], None]) -> None:
        super().__init__(_with_errors(frames), headers={"X-Accel-Buffering": "no"})
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, or give it up where nobody reads it."""

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)

        try:
            with suppress(TimeoutError):
                await super().__call__(scope, receive, send_soon)
        finally:
            self._close()


async def _with_errors(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    try:
        async for one in frames:
            yield one
    except ApiError as error:
        yield frame(error.body)
