"""A request inside the scheduler, and the tasks that it is cut into: one for each answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hocket.infer.request import (
    CancelledError,
    Completion,
    FinishReason,
    Handle,
    Piece,
    Timing,
    Usage,
)
from hocket.infer.row import Row

# Whatever a caller's function is likely to raise: its request fails, no other.
_CALLBACK_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Request:
    """What one `submit` asked for.

    Args:
        handle: what its caller holds.
        rows: its choices.
        on_token: called with each piece.
    """

    def __init__(
        self, handle: Handle, rows: list[Row], on_token: Callable[[Piece], None] | None
    ) -> None:
        self.handle = handle
        self.rows = rows
        self.cancelled = False
        self._on_token = on_token
        self._submitted = time.perf_counter()
        self._started = 0.0
        self._first = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.cancelled or self.handle.done

    def start(self) -> None:
        """Note that its prompt is begun."""
        self._started = self._started or time.perf_counter()

    def add(self, piece: Piece) -> None:
        """Pass a piece on; a last one completes the request."""
        self._first = self._first or time.perf_counter()
        self.handle._add(piece)
        if self._on_token is not None:
            try:
                self._on_token(piece)
            except _CALLBACK_ERRORS as error:
                self.fail(error)
                return
        if all(row.reason is not None for row in self.rows):
            self.complete()

    def complete(self) -> None:
        """Hand the result over."""
        self.handle._finish(self._completion(), None)

    def fail(self, error: BaseException) -> None:
        """Hand an error over, with what was said until then; of no effect when it is done."""
        if not self.handle.done:
            self.handle._finish(self._completion(), error)

    def cancel(self) -> None:
        """Tell whoever waits that somebody cancelled it."""
        self.cancelled = True
        for row in self.rows:
            row.reason = row.reason or FinishReason.CANCELLED
        self.fail(CancelledError(f"request {self.handle.id} was cancelled."))

    def _completion(self) -> Completion:
        prompt = self.rows[0].prompt
        now = time.perf_counter()
        usage = Usage(
            len(prompt),
            sum(len(row.generated) for row in self.rows),
            prompt.media_tokens,
            self.rows[0].cached,
        )
        since = self._submitted
        timing = Timing((self._started or now) - since, (self._first or now) - since, now - since)
        return Completion(tuple(row.answer() for row in self.rows), usage, timing)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One answer of a request, as the lanes hold it."""

    row: Row
    request: Request
