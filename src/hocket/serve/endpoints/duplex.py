"""``/v1/duplex``: a WebSocket on which somebody talks with a model.

The first message is ``{"type": "start", "model": ..., "system": ..., "speech": true, ...}``; then
binary messages are sound, 16-bit little-endian mono at 16 kHz. Messages are in ``docs/serving.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from typing import Annotated

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hocket._errors import HocketError
from hocket.chat.conversation import Conversation
from hocket.infer.sampling import Sampling
from hocket.serve.duplex.session import Asker, Session, SessionOptions
from hocket.serve.duplex.speech import Espeak, SpeechOutput
from hocket.serve.errors import ApiError, clean
from hocket.serve.models import Variant
from hocket.serve.service import Service

router = APIRouter(tags=["answers"])
_START_SECONDS = 10.0
_NORMAL, _UNSUPPORTED = 1000, 1003
_MOST_REASON_BYTES = 120  # the protocol has room for three more
# How browsers may send a key: the gate reads it, and the handshake must name what it chose.
_SPOKEN = "realtime"


class Start(BaseModel):
    """The first message.

    Attributes:
        type: ``start``.
        model: name of a model; empty takes the first.
        system: what the model is told before all.
        speech: whether answers are spoken too.
        barge_in: whether any speech ends an answer; else speech that asks for an answer does.
        max_tokens: longest answer.
        temperature: 0 takes the likeliest token.
    """

    model_config = ConfigDict(extra="ignore")

    type: Annotated[str, Field(pattern="^start$")]
    model: Annotated[str, Field(max_length=200)] = ""
    system: Annotated[str, Field(max_length=8192)] = ""
    speech: bool = False
    barge_in: bool = False
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 512
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0


class _Socket:
    """The client, as a session sees it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> bytes | str | None:
        """Return the next message, or None when the client is gone."""
        found = await self._socket.receive()
        if found["type"] == "websocket.disconnect":
            return None
        data: bytes | None = found.get("bytes")
        text: str | None = found.get("text")
        return data if data is not None else text or ""

    async def send(self, message: bytes | str) -> None:
        """Send sound or JSON; nothing where the client is gone."""
        with suppress(WebSocketDisconnect, RuntimeError):
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
            else:
                await self._socket.send_text(message)

    async def close(self, code: int, reason: str) -> None:
        """Close, saying why; nothing where the client is gone."""
        short = reason.encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(code, short)


@router.websocket("/v1/duplex")
async def duplex(socket: WebSocket) -> None:
    """Talk with a model until the client goes."""
    service: Service = socket.app.state.service
    offered = socket.headers.get("sec-websocket-protocol", "")
    await socket.accept(_SPOKEN if _SPOKEN in offered.replace(" ", "").split(",") else None)
    channel = _Socket(socket)
    try:
        first = await asyncio.wait_for(channel.receive(), _START_SECONDS)
        start = Start.model_validate_json(first or b"")
        variant = service.catalogue.get(start.model)
        if variant.engine.processor.sounds is None:
            raise ApiError(f"the model {variant.id!r} hears nothing. Choose another.")
        speech: SpeechOutput | None = await asyncio.to_thread(Espeak) if start.speech else None
    except (TimeoutError, ValidationError, HocketError) as error:
        why = clean(str(error)) if isinstance(error, HocketError) else "no valid start message"
        await channel.close(_UNSUPPORTED, why)
        return
    options = SessionOptions(system=start.system, barge_in=start.barge_in)
    ask = _asker(service, variant, start, str(socket.scope["state"].get("key", "")))
    await Session(channel, ask, options, speech).run()
    await channel.close(_NORMAL, "")


def _asker(service: Service, variant: Variant, start: Start, key: str) -> Asker:
    """Return what answers conversations of a session with one model."""
    tokens = min(start.max_tokens, service.limits.max_tokens)
    sampling = Sampling(max_new_tokens=tokens, temperature=start.temperature)

    async def ask(conversation: Conversation) -> AsyncGenerator[str, None]:
        with ExitStack() as stack:
            running = await service.begin(stack, variant, lambda _: conversation, sampling, key)
            async for piece in running.pieces():
                if piece is not None and piece.text:
                    yield piece.text

    return ask
