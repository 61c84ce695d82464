"""``/health``, ``/ready``, ``/ping`` and ``/version``: open to everybody, so they say little."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hocket._compat import installed_version
from hocket.serve.errors import ApiError
from hocket.serve.service import Parts

router = APIRouter(tags=["state"])


@router.get("/health")
@router.get("/v1/health", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def health() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(service: Parts) -> dict[str, str]:
    """Say whether requests are taken.

    Raises:
        ApiError: 503, the server is about to stop.
    """
    if service.admission.draining:
        raise ApiError("the server is about to stop.", status=503, code="stopping", retry_after=1)
    return {"status": "ready"}


@router.get("/version")
async def version() -> dict[str, Any]:
    """Return the version of hocket."""
    return {"version": installed_version("hocket") or "unknown"}
