"""Media whose decoders hang or crash; a module, since another process has to import them."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

from hocket.media.image import Image, Pixels
from hocket.media.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True, eq=False)
class Headed(Image):
    """Has a header and no file."""

    def size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
        """Return (height, width)."""
        return 20, 30

    def plain_size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int] | None:
        """Leave it to `size`."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Hanging(Headed):
    """Never comes back."""

    def load(self, limits: Limits = DEFAULT_LIMITS) -> Pixels:
        """Hang as a loop in C does: no signal handler of Python would run."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        while True:
            time.sleep(1)


@dataclass(frozen=True, slots=True, eq=False)
class Aborting(Headed):
    """Ends its process, as a C library does that finds its memory damaged."""

    def load(self, limits: Limits = DEFAULT_LIMITS) -> Pixels:
        """Abort."""
        os.abort()


@dataclass(frozen=True, slots=True, eq=False)
class Killed(Image):
    """Is killed, as the kernel does when memory runs out."""

    def size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
        """Be killed while the header is read."""
        os.kill(os.getpid(), signal.SIGKILL)
        return 0, 0


@dataclass(frozen=True, slots=True, eq=False)
class Buggy(Image):
    """Raises what nobody expects."""

    def load(self, limits: Limits = DEFAULT_LIMITS) -> Pixels:
        """Raise."""
        raise ZeroDivisionError


def loaded(name: str) -> bool:
    """Return whether this process has imported a library."""
    return name in sys.modules
