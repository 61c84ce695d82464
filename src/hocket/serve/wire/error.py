"""What every endpoint answers where it does not do what was asked; for the description of them all.

Knows shapes; `hocket.serve.errors` makes them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """A fault.

    Attributes:
        message: one sentence for whoever sent the request.
        type: kind of the fault, as OpenAI names them.
        param: the field that is wrong.
        code: short name of the fault.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of an answer that is an error."""

    error: ErrorDetail


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request, its key or its place is wrong"},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer"},
}
"""For the description of an application."""
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Whole, or as a stream of events", "content": {"text/event-stream": {}}}
}
"""For the description of an endpoint that streams where it is asked to."""
