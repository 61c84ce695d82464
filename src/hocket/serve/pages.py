"""The pages at ``/`` and ``/talk``: static files from memory; nothing else may run in them.

Knows the files of ``page/`` and ``talk/`` and their headers; must not know the API that they speak.
Only a name that was found at the start is served: no path of a request ever reaches the disk.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

from hocket._errors import MachineError

_FOLDERS = tuple(files("hocket.serve") / name for name in ("page", "talk"))
_INDEX, _TALK = "index.html", "duplex.html"
# Comments are for those who read the source; the lines stay, so that errors name the right ones.
_COMMENTS = re.compile(rb"^\t*//.*$", re.MULTILINE)
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
    """Return the pages' files by name.

    Raises:
        MachineError: the package was installed without them.
    """
    found = {}
    for each in (one for folder in _FOLDERS if folder.is_dir() for one in folder.iterdir()):
        ending = each.name.rpartition(".")[2]
        kind = _KINDS.get(ending)
        if kind is not None:
            content = each.read_bytes()
            content = _COMMENTS.sub(b"", content) if ending == "js" else content
            found[each.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()}"')
    for name in (_INDEX, _TALK):
        if name not in found:
            raise MachineError(
                f"a page of the server is missing: no {name} in {' or '.join(map(str, _FOLDERS))}. "
                "Install hocket again."
            )
    return found


def page_router() -> APIRouter:
    """Return the routes of the pages: ``/``, ``/talk`` and ``/page/NAME``, open without a key."""
    page = read_page()
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index(request: Request) -> Response:
        return _answer(page[_INDEX], request)

    @router.get("/talk")
    def talk(request: Request) -> Response:
        return _answer(page[_TALK], request)

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
