"""``/v1/models``: what can be asked, by name."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hocket.serve.service import Parts

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def models(service: Parts) -> dict[str, Any]:
    """List the models and their adapters."""
    return {"object": "list", "data": [one.describe() for one in service.catalogue]}


@router.get("/v1/models/{name:path}")
async def model(name: str, service: Parts) -> dict[str, Any]:
    """Return one model.

    Raises:
        ApiError: 404, there is none of that name.
    """
    return service.catalogue.get(name).describe()
