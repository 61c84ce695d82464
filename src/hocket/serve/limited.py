"""What runs in the process of a decoder: a function with little memory, time and few rights.

That process imports this file within the time of its first call, so nothing here may import torch
or what does. Knows media; must not know HTTP, requests or models.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import av
import PIL.Image

from hocket._errors import MediaError
from hocket.media.confine import confine
from hocket.media.container import opened
from hocket.media.limits import Limits
from hocket.media.where import Where


class Fault(StrEnum):
    """Why a medium is not taken."""

    NONE = ""
    REFUSED = "refused"  # by hocket, in its own words
    UNREADABLE = "unreadable"  # by a library
    MEMORY = "memory"


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        fault: why there is no result.
        value: the result, or what is to be said.
    """

    fault: Fault
    value: Any


class Streams(NamedTuple):
    """What is in a container: moving pictures, sound."""

    video: bool
    audio: bool


def limited(
    max_memory_bytes: int,
    max_cpu_seconds: float,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Outcome:
    """Call a function, having given up most rights first.

    Args:
        max_memory_bytes: address space of this process.
        max_cpu_seconds: time on a processor.
        function: what is called.
        args: its positional arguments.
        kwargs: its other arguments.
    """
    confine(max_memory_bytes=max_memory_bytes, max_cpu_seconds=max_cpu_seconds)
    # Hocket's own limits come before anything is decoded, and their message says the size.
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        return Outcome(Fault.NONE, function(*args, **kwargs))
    except MemoryError:
        return Outcome(Fault.MEMORY, None)
    except MediaError as error:
        # What hocket itself refuses has no cause; the rest repeats the words of a library.
        fault = Fault.REFUSED if error.__cause__ is None else Fault.UNREADABLE
        return Outcome(fault, str(error))


def streams(data: bytes, name: str, limits: Limits) -> Streams:
    """Return what a container holds.

    Args:
        data: the file.
        name: what messages call it.
        limits: caps on bytes.

    Raises:
        MediaError: it cannot be opened.
    """
    with opened(Where.of_bytes(data, name), limits, noun="file") as container:
        films = [
            one
            for one in container.streams.video
            if not one.disposition & av.stream.Disposition.attached_pic
        ]
        return Streams(bool(films), bool(container.streams.audio))
