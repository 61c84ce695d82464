"""A server that speaks the wire of ours with scripted answers, for tests of the page alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hocket.serve.pages import page_router

KEY = "opensesame"


class Script:
    """What the server does, and what it was asked; a test sets it up and looks at it after.

    Attributes:
        answers: what it says, one after another; the last is said again and again.
        thinking: what it thinks first.
        wait: seconds between two pieces.
        error: (status, message) instead of an answer; None to answer.
        broken: what goes wrong within a stream: ``error``, ``cut`` or nothing.
        finish: why answers end.
        locked: whether it asks for ``KEY``.
        requests: the bodies that came.
        open: streams that have not ended.
    """

    def __init__(self) -> None:
        self.open = 0
        self.reset()

    def reset(self) -> None:
        self.answers = ["Hello there."]
        self.thinking = ""
        self.wait = 0.0
        self.error: tuple[int, str] | None = None
        self.broken = ""
        self.finish = "stop"
        self.locked = False
        self.requests: list[dict[str, Any]] = []

    def say(self) -> str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def refuse(status: int, message: str) -> Response:
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, status)


def page_app(script: Script) -> FastAPI:
    app = FastAPI()
    app.include_router(page_router())

    def barred(request: Request) -> Response | None:
        if script.locked and request.headers.get("authorization") != f"Bearer {KEY}":
            return refuse(401, "this server wants a key: send Authorization: Bearer KEY")
        return None

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        data = [{"id": name, "object": "model"} for name in ("tiny-vision", "tiny-omni")]
        return barred(request) or JSONResponse({"object": "list", "data": data})

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> Response:
        if refused := barred(request):
            return refused
        script.requests.append(await request.json())
        if script.error:
            return refuse(*script.error)
        return StreamingResponse(stream(script), media_type="text/event-stream")

    return app


async def stream(script: Script) -> AsyncIterator[str]:
    script.open += 1
    try:
        text = script.say()
        yield chunk({"role": "assistant", "content": ""})
        yield ": keep-alive\n\n"
        if script.thinking:
            yield chunk({"reasoning_content": script.thinking})
        size = 4 if len(text) < 5000 else 500
        for at in range(0, len(text), size):
            await asyncio.sleep(script.wait)
            yield chunk({"content": text[at : at + size]})
        if script.broken == "error":
            yield f"data: {json.dumps({'error': {'message': 'the model ran out of memory'}})}\n\n"
        if script.broken:
            return
        yield chunk({}, script.finish)
        details = {"image_tokens": 256, "audio_tokens": 50}
        usage = {"prompt_tokens": 412, "completion_tokens": 87, "prompt_tokens_details": details}
        yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        script.open -= 1


def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


@contextmanager
def serve(app: FastAPI) -> Any:
    """Run an app on a free port of this machine; gives its address."""
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
