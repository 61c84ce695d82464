"""Where hocket speaks: one console and one logger, both on standard error.

Standard output stays free for results that another program may read. rich is imported on first use,
so that a command that prints nothing starts fast. It must not know torch.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from hocket._env import no_color

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


def console() -> Console:
    """Return the one console of this process; it writes to standard error.

    There is one so that a message printed during a live display goes above it. ``NO_COLOR`` is
    read at each call.
    """
    shared = _console()
    shared.no_color = no_color()
    return shared


def warn(message: str) -> None:
    """Tell the user of something that is odd and does not stop the work.

    Args:
        message: what was found, and what to do about it, in one or two short sentences.
    """
    logger.warning("%s", message)


class ConsoleHandler(logging.Handler):
    """Print log records on the console as ``warning: ...``, without a time or a file name."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; square brackets in it are text, not rich markup."""
        from rich.text import Text

        label = Text(f"{record.levelname.lower()}: ", style=_STYLES.get(record.levelname, ""))
        console().print(label.append(self.format(record), style="default"), soft_wrap=True)


@functools.cache
def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _logger() -> logging.Logger:
    found = logging.getLogger("hocket")
    if not any(isinstance(handler, ConsoleHandler) for handler in found.handlers):
        found.addHandler(ConsoleHandler())
    return found


logger = _logger()
"""hocket's logger. It passes records on, so an application's own handlers see them too."""
