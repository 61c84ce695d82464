"""The live page: a small HTTP server in a thread, on this machine's own address only.

One request at a time, so that none is under way when the thread is stopped: while workers are
forked, no other thread may hold a lock. A page of another origin gets nothing: the ``Host`` of a
request must be this server's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from threading import Thread
from typing import ClassVar

HOST = "127.0.0.1"
_POLL_SECONDS = 0.1


class Server:
    """Serves a page and its news.

    Attributes:
        url: where it is.

    Args:
        port: of 127.0.0.1.
        page: returns the page.
        news: returns the parts of it that change, by their ids.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self, port: int, page: Callable[[], str], news: Callable[[], dict[str, str]]
    ) -> None:
        script = (files("hocket.train.observe") / "page" / "live.js").read_text("utf-8")
        hosts = frozenset({f"{HOST}:{port}", f"localhost:{port}"})

        class Handler(_Handler):
            allowed = hosts
            pages: ClassVar[dict[str, tuple[str, Callable[[], str]]]] = {
                "/": ("text/html", page),
                "/news.json": ("application/json", lambda: json.dumps(news())),
                "/live.js": ("text/javascript", lambda: script),
            }

        self.url = f"http://{HOST}:{port}/"
        self._server = HTTPServer((HOST, port), Handler)
        self._thread: Thread | None = None

    def resume(self) -> None:
        """Answer requests; those that came meanwhile are answered first."""
        if self._thread is None:
            self._thread = Thread(
                target=self._server.serve_forever,
                args=(_POLL_SECONDS,),
                name="hocket-dashboard",
                daemon=True,
            )
            self._thread.start()

    def pause(self) -> None:
        """Let requests wait; no thread is left."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Stop, and give the port back."""
        self.pause()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    allowed: frozenset[str] = frozenset()
    pages: ClassVar[dict[str, tuple[str, Callable[[], str]]]] = {}
    # A client that connects and says nothing must not hold up the others.
    timeout = 2

    def do_GET(self) -> None:
        """Answer with a page, 403 for another host's and 404 for an unknown one."""
        found = self.pages.get(self.path.partition("?")[0])
        if self.headers.get("Host", "") not in self.allowed:
            self.send_error(403)
        elif found is None:
            self.send_error(404)
        else:
            self._send(found[0], found[1]().encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is the run's."""

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            # The browser has gone.
            self.close_connection = True
