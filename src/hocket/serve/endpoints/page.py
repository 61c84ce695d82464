"""``/``: the page, and its files under ``/page/``: what ``hocket/serve/page`` holds."""

from __future__ import annotations

from hocket.serve.pages import page_router

router = page_router()
