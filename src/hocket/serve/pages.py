"""The page at ``/``: static files from memory, under a policy that lets nothing else run.

Knows the files of ``page/`` and their headers; must not know the API that the page speaks. Only a
name that was found at the start is served, so no path of a request ever reaches the disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

from hocket._errors import MachineError

_FOLDER = files("hocket.serve") / "page"
_INDEX = "index.html"
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src blob: data:",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Cache-Control": "no-cache",
}
"""What goes with every file of the page."""


@dataclass(frozen=True)
class PageFile:
    """A file of the page as it is sent.

    Attributes:
        content: its bytes.
        kind: its media type.
        tag: what tells this version from others, for ``If-None-Match``.
    """

    content: bytes
    kind: str
    tag: str


def read_page() -> dict[str, PageFile]:
    """Return the page's files by name.

    Raises:
        MachineError: the package was installed without them.
    """
    found = {}
    for each in _FOLDER.iterdir() if _FOLDER.is_dir() else ():
        kind = _KINDS.get(each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            found[each.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()}"')
    if _INDEX not in found:
        raise MachineError(
            f"the server's page is missing: {_FOLDER} has no {_INDEX}. Install hocket again."
        )
    return found


def page_router() -> APIRouter:
    """Return the routes of the page: ``/`` and ``/page/NAME``, open to all and without a key."""
    page = read_page()
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index(request: Request) -> Response:
        return _answer(page[_INDEX], request)

    @router.get("/page/{name}")
    def one(name: str, request: Request) -> Response:
        if name not in page:
            raise HTTPException(404, f"the page has no file {name!r}")
        return _answer(page[name], request)

    return router


def _answer(file: PageFile, request: Request) -> Response:
    headers = {**HEADERS, "ETag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)
