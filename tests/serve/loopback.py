"""A server on loopback for tests: the toy model behind the whole application, in a thread."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import uvicorn
from PIL import Image as Pil
from starlette.types import Receive, Scope, Send
from tests.toy import picture, toy, write_medium

from hocket.infer.engine import Engine
from hocket.infer.options import EngineOptions
from hocket.serve.app import ServeOptions, create_app
from hocket.serve.keys import Keys
from hocket.serve.patience import Patience
from hocket.serve.run import bind
from hocket.serve.service import Service

MODEL = "toy"


class Loopback:
    """A running server.

    Attributes:
        url: where it listens.
        service: its parts.
        requests: how many have come.
    """

    def __init__(self, url: str, service: Service) -> None:
        self.url = url
        self.service = service
        self.requests = 0

    @property
    def engine(self) -> Engine:
        """The first model's."""
        return next(iter(self.service.catalogue)).engine

    def idle(self, seconds: float = 5.0) -> bool:
        """Wait until nothing is answered; say whether that came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = self.engine.state
            if not (now.running or now.waiting or now.prefilling or self.service.admission.active):
                return True
            time.sleep(0.01)
        return False


@contextmanager
def serving(
    options: ServeOptions | None = None,
    *,
    engines: Mapping[str, Engine] | None = None,
    rows: int = 8,
) -> Iterator[Loopback]:
    """Serve on a free port inside a ``with`` block."""
    chosen = options or ServeOptions()
    app = create_app(engines or {MODEL: Engine(*toy(), EngineOptions(max_rows=rows))}, chosen)
    listening = bind("127.0.0.1", 0, Keys())
    found = Loopback(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.service)

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        found.requests += scope["type"] == "http"
        await app(scope, receive, send)

    config = uvicorn.Config(
        counted, log_level="error", access_log=False, http=Patience, lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    assert server.started
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(15)
        listening.close()


def png(seed: int = 0, *, height: int = 20, width: int = 30) -> bytes:
    """Return a picture of random pixels."""
    found = io.BytesIO()
    Pil.fromarray(picture(seed, height=height, width=width).load()).save(found, "PNG")
    return found.getvalue()


def wav(seconds: float = 0.5, rate: int = 16000) -> bytes:
    """Return quiet noise."""
    found = io.BytesIO()
    wave = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))
    soundfile.write(found, wave, rate, format="WAV")
    return found.getvalue()


def mp4(folder: Path) -> bytes:
    """Return a video of five frames."""
    file = folder / "film.mp4"
    write_medium(file, seed=3)
    return file.read_bytes()


def data_url(data: bytes, kind: str = "image/png") -> str:
    """Return bytes as a ``data:`` URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def ask(*parts: Any, **more: Any) -> dict[str, Any]:
    """Return the body of a short chat request with one user turn."""
    content = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else list(parts)
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 4}
    return body | {"temperature": 0} | more


def text(words: str) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "text": words}


def image(data: bytes | None = None) -> dict[str, Any]:
    """Return a part with a picture."""
    return {"type": "image_url", "image_url": {"url": data_url(data or png())}}
