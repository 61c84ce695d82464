"""What every request passes first: host, origin, key and size; and headers of every answer.

Plain ASGI, so that it costs streams nothing and covers WebSockets too. Knows headers; must not know
endpoints beyond those that are open to everybody.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hocket.serve.errors import ApiError
from hocket.serve.keys import Keys

OPEN_PATHS = frozenset({"/", "/talk", "/health", "/v1/health", "/ready", "/ping", "/version"})
"""Paths that need no key; those of the page need none either."""
PAGE = "/page/"
BODY_SECONDS = 30.0
"""How long the next bytes of a body may take."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# How OpenAI's own pages send a key over a WebSocket, which takes no headers in browsers.
_PROTOCOL = "openai-insecure-api-key."
_POLICY_VIOLATION = 1008


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """Who may ask what.

    Attributes:
        keys: keys of clients; none lets everybody in.
        hosts: names that the ``Host`` header may have, without port; None takes any.
        origins: pages of other sites that may ask, such as ``https://chat.example.org``.
        public_metrics: whether ``/metrics`` needs no key.
        body_bytes: the largest body.
    """

    keys: Keys
    hosts: frozenset[str] | None
    origins: tuple[str, ...] = ()
    public_metrics: bool = False
    body_bytes: int


class Gate:
    """The first middleware.

    Args:
        app: what is behind it.
        options: who may ask what.
    """

    def __init__(self, app: ASGIApp, options: GateOptions) -> None:
        self._app = app
        self._options = options
        self._open = OPEN_PATHS | ({"/metrics"} if options.public_metrics else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        number = f"req_{uuid.uuid4().hex}"

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found.setdefault(name, value)
                found["X-Request-Id"] = number
            await send(message)

        scope.setdefault("state", {})["key"] = ""
        try:
            self._check(scope, headers)
        except ApiError as error:
            await _refuse(scope, error, send_on)
            return
        counted = self._counted(receive) if scope["type"] == "http" else receive
        await self._app(scope, counted, send_on)

    def _counted(self, receive: Receive) -> Receive:
        """Refuse a body that is larger than it may be, or that stops to come."""
        most, total, whole = self._options.body_bytes, 0, False

        async def receive_on() -> Message:
            nonlocal total, whole
            try:
                # Behind the body comes the end of the connection, which may take its time.
                async with asyncio.timeout(None if whole else BODY_SECONDS):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "the body stopped to come") from error
            whole = not message.get("more_body", False)
            total += len(message.get("body", b""))
            if message["type"] == "http.request" and total > most:
                raise HTTPException(413, f"at most {most} bytes are allowed")
            return message

        return receive_on

    def _check(self, scope: Scope, headers: Headers) -> None:
        options = self._options
        host = _without_port(headers.get("host", ""))
        if options.hosts is not None and host not in options.hosts:
            # A page of another site may have pointed its own name at this machine.
            raise ApiError(
                f"host {host[:80]!r} is not a name of this server. Start it with --allow-host.",
                status=403,
                code="host_not_allowed",
            )
        self._check_origin(scope, headers)
        path = scope["path"]
        if options.keys and path not in self._open and not path.startswith(PAGE):
            name = options.keys.name_of(_authorization(scope, headers))
            if name is None:
                raise ApiError(
                    "no valid API key. Send 'Authorization: Bearer KEY'.",
                    status=401,
                    code="invalid_api_key",
                )
            scope["state"]["key"] = name
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > options.body_bytes:
            raise ApiError(
                f"the body has {length[:20]} bytes, but at most {options.body_bytes} are allowed.",
                status=413,
                code="body_too_large",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self._options.origins:
            return
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return
        if origin.partition("://")[2] != headers.get("host"):
            raise ApiError(
                f"pages of {origin[:80]!r} may not ask here. Start the server with --cors-origin.",
                status=403,
                code="origin_not_allowed",
            )


def _authorization(scope: Scope, headers: Headers) -> str | None:
    if scope["type"] == "websocket":
        for one in headers.get("sec-websocket-protocol", "").split(","):
            if one.strip().startswith(_PROTOCOL):
                return f"Bearer {one.strip()[len(_PROTOCOL) :]}"
    return headers.get("authorization")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".").lower()


async def _refuse(scope: Scope, error: ApiError, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": str(error)})
        return
    body = json.dumps(error.body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",  # the body, if there is one, was not read
        **error.headers,
    }
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": listed})
    await send({"type": "http.response.body", "body": body})
