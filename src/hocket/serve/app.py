"""The application: endpoints, the gate in front of them, and errors in OpenAI's shape.

Knows FastAPI; must not know engines beyond handing them on.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from hocket._compat import installed_version
from hocket._errors import HocketError
from hocket.infer.engine import Engine
from hocket.infer.options import EngineState
from hocket.serve import endpoints
from hocket.serve.errors import ApiError
from hocket.serve.fetch import Fetcher, FetchOptions
from hocket.serve.gate import Gate, GateOptions
from hocket.serve.keys import Keys
from hocket.serve.limits import Admission, ServeLimits
from hocket.serve.media import MediaReader
from hocket.serve.metrics import Metrics
from hocket.serve.models import Catalogue
from hocket.serve.service import GoneError, Service
from hocket.serve.wire.error import ERRORS

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine."""
_CLIENT_CLOSED = 499
_MISSING = "missing"
_NOT_JSON = "the body cannot be read as what its Content-Type says. Check it for commas and quotes."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How a server is set up.

    Attributes:
        limits: of requests.
        keys: keys of clients; none lets everybody in.
        hosts: names that the ``Host`` header may have; None takes any.
        origins: pages of other sites that may ask.
        public_metrics: whether ``/metrics`` needs no key.
        fetch: what may be downloaded; nothing by default.
        media_root: folder that ``file://`` URLs may name files of.
        temperature: where a request does not say one; OpenAI's is 1.
        transcribe: what the model is asked for a transcription; empty takes the default.
    """

    limits: ServeLimits = field(default_factory=ServeLimits)
    keys: Keys = field(default_factory=Keys)
    hosts: frozenset[str] | None = LOOPBACK
    origins: tuple[str, ...] = ()
    public_metrics: bool = False
    fetch: FetchOptions = field(default_factory=FetchOptions)
    media_root: Path | None = None
    temperature: float = 1.0
    transcribe: str = ""


def create_app(engines: Mapping[str, Engine], options: ServeOptions | None = None) -> FastAPI:
    """Return the application; its engines run while it does.

    Args:
        engines: name -> engine, the default first.
        options: how it is set up.

    Raises:
        ConfigError: a model's name that no URL may hold.
    """
    chosen = options or ServeOptions()
    service = _service(dict(engines), chosen)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="Hocket",
        summary="OpenAI's interface in front of models that see, hear and watch.",
        version=installed_version("hocket") or "0",
        lifespan=lifespan,
        responses=ERRORS,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    for found in pkgutil.iter_modules(endpoints.__path__):
        app.include_router(importlib.import_module(f"{endpoints.__name__}.{found.name}").router)
    gate = GateOptions(
        keys=chosen.keys,
        hosts=chosen.hosts,
        origins=chosen.origins,
        public_metrics=chosen.public_metrics,
        body_bytes=chosen.limits.body_bytes,
    )
    app.add_middleware(Gate, options=gate)
    if chosen.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(chosen.origins),
            allow_methods=["GET", "POST"],
            # OpenAI's client sends a dozen of its own; the list of pages keeps others out.
            allow_headers=["*"],
            expose_headers=["Retry-After", "X-Request-Id", "X-Should-Retry"],
        )
    _answer_errors(app)
    return app


def _service(engines: dict[str, Engine], options: ServeOptions) -> Service:
    catalogue = Catalogue(engines)
    rows = sum(engine.options.max_rows for engine in engines.values())
    service = Service(
        catalogue=catalogue,
        limits=options.limits,
        reader=MediaReader(options.limits, Fetcher(options.fetch), options.media_root),
        metrics=Metrics({name: partial(_state, engine) for name, engine in engines.items()}),
        admission=Admission(options.limits, rows),
        temperature=options.temperature,
    )
    if options.transcribe:
        service.transcribe = options.transcribe
    return service


def _state(engine: Engine) -> EngineState:
    return engine.state


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(HocketError)
    async def own(request: Request, error: HocketError) -> Response:
        service: Service = request.app.state.service
        told = service.told(error)
        service.metrics.failed(_route(request), told)
        return _answered(told)

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        words, code = f"{phrase}: {error.detail}.", phrase.lower().replace(" ", "_")
        if error.status_code == HTTPStatus.BAD_REQUEST:
            words, code = _NOT_JSON, "bad_json"  # all that the framework itself finds wrong
        told = ApiError(
            words.replace(f"{phrase}: {phrase}", phrase), status=error.status_code, code=code
        )
        return _answered(told, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        service: Service = request.app.state.service
        told = _invalid(error)
        service.metrics.failed(_route(request), told)
        return _answered(told)

    @app.exception_handler(GoneError)
    async def gone(_: Request, error: GoneError) -> Response:
        return Response(status_code=_CLIENT_CLOSED)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        service: Service = request.app.state.service
        return _answered(service.told(error))


def _answered(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    more = {**error.headers, **(headers or {})}
    return JSONResponse(error.body, status_code=error.status, headers=more)


def _route(request: Request) -> str:
    """Return what errors are counted under: the path as it is declared, never as it was sent."""
    route = request.scope.get("route")
    return str(vars(route).get("path", "")) if route is not None else ""


def _invalid(error: RequestValidationError) -> ApiError:
    """Return one sentence about the first field that is wrong."""
    first = error.errors()[0]
    kind = str(first["type"])
    if kind == "json_invalid":
        return ApiError(_NOT_JSON, code="bad_json")
    place, inside = [*first["loc"][1:]], error.body
    if not place and not isinstance(inside, dict):
        return ApiError(
            "the body must be a JSON object, sent with Content-Type: application/json.",
            code="bad_json",
        )
    param = _named(place, inside, missing=kind == _MISSING)
    message = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(f"{param or 'body'}: {message}.", param=param or None, code="invalid_value")


def _named(place: list[Any], body: Any, *, missing: bool) -> str:
    """Return a field as ``messages[0].content``: names of types that pydantic adds are left out."""
    found, inside = "", body
    for number, one in enumerate(place):
        if isinstance(one, int):
            fits = isinstance(inside, list) and one < len(inside)
            found += f"[{one}]"
        else:
            fits = isinstance(inside, Mapping) and one in inside
            if not fits and not (missing and number == len(place) - 1):
                return found
            found += f".{one}" if found else str(one)
        inside = inside[one] if fits else None
    return found
