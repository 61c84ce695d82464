"""Errors as clients of OpenAI's interface expect them: one JSON shape, and the right status.

A client tries again after 408, 409, 429 and 5xx, so a fault of the request is never one of these.
Knows statuses and messages; must not know a web framework.
"""

from __future__ import annotations

import re
from typing import Any

from hocket._errors import DataError, HocketError, MissingExtraError
from hocket.infer.request import CancelledError, PromptTooLongError

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
# What tells a stranger about this machine: paths of two folders and more, and addresses.
_INSIDE = re.compile(r"(?<![\w:/.])(?:/[\w.+-]+){2,}|0x[0-9a-f]{6,}", re.IGNORECASE)
_MOST_CHARS = 600


class ApiError(HocketError):
    """What a client is told.

    Attributes:
        status: HTTP status.
        param: the field that is wrong, such as ``messages[1].content[0]``; None where it is none.
        code: short name of the fault, such as ``bad_media``; None where there is none.
        retry_after: seconds after which to try again; 0 says that trying again is no use.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": clean(str(self)),
                "type": _KINDS.get(self.status, fallback),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """What goes beside the body: whether, and when, trying again is of use."""
        if self.retry_after:
            return {"Retry-After": str(self.retry_after)}
        return {"X-Should-Retry": "false"}


class BadPartError(ApiError, DataError):
    """A part of a message is not what it should be.

    Args:
        param: the part, such as ``messages[1].content[0]``.
        what: the fault, without the name of the part.
        code: short name of the fault.
    """

    def __init__(self, param: str, what: str, *, code: str = "bad_media") -> None:
        super().__init__(f"{param}: {what}", param=param, code=code)


def api_error(error: BaseException, *, param: str | None = None) -> ApiError:
    """Return what a client is told of any error.

    Args:
        error: what was raised.
        param: the field that it is about, where the error itself does not say.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, PromptTooLongError):
        return ApiError(str(error), param=param, code="context_length_exceeded")
    if isinstance(error, CancelledError):
        return ApiError(
            "the server stopped this answer. Try again.", status=503, retry_after=1, code="stopped"
        )
    if isinstance(error, MissingExtraError):
        return ApiError(f"this server cannot do that: {error}", status=501, code="not_installed")
    if isinstance(error, HocketError) and error.exit_code == HocketError.exit_code:
        return ApiError(str(error), param=param)
    return ApiError(
        "the server failed to answer; its log says why.", status=500, code="internal", retry_after=1
    )


def clean(message: str) -> str:
    """Return a message without paths and addresses of this machine, in one line."""
    line = " ".join(message.split())
    found = _INSIDE.sub("...", line)
    return found if len(found) <= _MOST_CHARS else found[: _MOST_CHARS - 3] + "..."
