"""Processes that open and decode media of strangers, with little memory and little time.

A decoder stands where a `Guard` does, so media that `hocket.data.guarded` gives it are opened there
by whoever uses them, under the limits of the server. What a library says about a broken file stays
in the log: it may tell about memory of this machine. Knows media; must not know HTTP or models.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hocket._errors import MachineError
from hocket.media.audio import Audio
from hocket.media.guard import Given, Guard, LostDecoderError, Result
from hocket.media.image import Image
from hocket.media.limits import Limits
from hocket.media.video import Video
from hocket.serve.errors import ApiError, BadPartError
from hocket.serve.limited import Fault, Outcome, Streams, limited, streams
from hocket.serve.limits import ServeLimits

_logger = logging.getLogger("hocket.serve")


class UnreadableError(BadPartError):
    """A medium is damaged, or of another format than it should be."""


class Decoder(Guard):
    """Opens and decodes media in a process with limits.

    Args:
        limits: of the server.
        took: told ``image``, ``audio`` or ``video`` and the seconds of each call about a medium.
    """

    def __init__(
        self, limits: ServeLimits, took: Callable[[str, float], None] | None = None
    ) -> None:
        super().__init__(deadline_seconds=limits.decode_seconds)
        self._bytes = self.most_answer_bytes = limits.decoder_bytes
        self._took = took
        self._limits = limits.media
        self._film_limits = replace(limits.media, max_pixels=limits.frame_pixels)

    def call(
        self,
        name: str,
        function: Callable[Given, Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Return what a function returns; limits among its arguments are those of the server.

        Args:
            name: the part of the request, such as ``messages[0].content[1]``.
            function: can be pickled by its name, or is a method of an object that can.
            args: positional arguments of the function.
            kwargs: its other arguments.

        Raises:
            BadPartError: the medium cannot be opened within the limits.
            ApiError: no process can be started.
        """
        medium = function.__self__ if inspect.ismethod(function) else None
        limits = self._film_limits if isinstance(medium, Video) else self._limits
        given = tuple(limits if isinstance(one, Limits) else one for one in args)
        began = time.perf_counter()
        try:
            fault, value = super().call(
                name, limited, self._bytes, self.deadline_seconds, function, given, kwargs
            )
        except LostDecoderError as error:
            _logger.info("%s", error)
            raise BadPartError(
                name,
                f"takes more than {self.deadline_seconds:g} s or too much memory to decode. "
                "Send a smaller one.",
                code="media_too_costly",
            ) from error
        except MachineError as error:
            _logger.error("%s", error)
            raise ApiError("no medium can be opened now.", status=503, retry_after=5) from error
        finally:
            kind = _kind_of(medium)
            if kind and self._took is not None:
                self._took(kind, time.perf_counter() - began)
        return _value(name, Outcome(Fault(fault), value))

    def streams(self, name: str, data: bytes) -> Streams:
        """Return what a container holds.

        Raises:
            BadPartError: it cannot be opened.
        """
        return Streams(*self.call(name, streams, data, name, self._limits))


def _kind_of(medium: object) -> str:
    match medium:
        case Image():
            return "image"
        case Audio():
            return "audio"
        case Video():
            return "video"
    return ""


def _value(name: str, outcome: Outcome) -> Any:
    match outcome.fault:
        case Fault.REFUSED:
            raise BadPartError(name, str(outcome.value).removeprefix(f"{name}: "))
        case Fault.UNREADABLE:
            _logger.info("%s", outcome.value)
            raise UnreadableError(name, "damaged, cut off or of another format. Encode it again.")
        case Fault.MEMORY:
            raise BadPartError(
                name,
                "takes too much memory to decode. Send a smaller one.",
                code="media_too_costly",
            )
    return outcome.value
