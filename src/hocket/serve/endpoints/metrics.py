"""``/metrics``: numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from hocket.serve.service import Parts

router = APIRouter(tags=["state"])


@router.get("/metrics", response_class=Response)
async def metrics(service: Parts) -> Response:
    """Return counts and times."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
