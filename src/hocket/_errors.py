"""The exception tree. A message says what was found, what was expected, where, and what to do.

::

    HocketError                 exit code 2: the user can fix it
    |-- ConfigError             a key, value or combination in the config
    |   `-- UnknownNameError    a name nobody registered, with the nearest one
    |-- DataError               a data set, row or conversation
    |   |-- ReaderError         a row that its reader cannot understand
    |   |   |-- PlaceholderError    other numbers of placeholders and media
    |   |   |-- TurnOrderError      roles in another order
    |   |   `-- EmptyAnswerError    nothing to learn
    |   `-- MediaError          a picture, sound or video that cannot be opened
    |-- AlignmentError          placeholder tokens and media rows do not match
    |-- CheckpointError         a checkpoint directory that is missing, damaged or of another kind
    |-- TrainingError           a run that must stop: a loss that is not finite, rows in a row bad
    |-- MachineError            exit code 3: the disk, the memory, a permission
    `-- MissingExtraError       exit code 3: an optional package, with the extra that carries it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HocketError(Exception):
    """An error with a message made for the user; printed without a traceback."""

    exit_code = 2


class ConfigError(HocketError):
    """A config key, value or combination is wrong."""


class UnknownNameError(ConfigError):
    """A name that nobody registered.

    Args:
        noun: what kind of thing the name should be, such as ``connector``.
        name: what was asked for.
        known: every name that would have worked.
    """

    def __init__(self, noun: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        hint = did_you_mean(name, names)
        listing = ", ".join(names) if names else "none"
        super().__init__(f"no {noun} is called {name!r}.{hint} Known: {listing}.")


class DataError(HocketError):
    """A data set, row or conversation is wrong."""


class ReaderError(DataError):
    """A row has a shape that its reader does not understand."""


class PlaceholderError(ReaderError):
    """A row has other numbers of placeholders and of media."""


class TurnOrderError(ReaderError):
    """The roles of a conversation follow each other in another order."""


class EmptyAnswerError(ReaderError):
    """An answer is empty, or there is nothing to learn."""


class MediaError(DataError):
    """A picture, sound or video cannot be opened, or is over a limit."""


class AlignmentError(HocketError):
    """Placeholder tokens and media rows do not match; the message names both counts."""


class CheckpointError(HocketError):
    """A checkpoint directory is missing, damaged or of another kind."""


class TrainingError(HocketError):
    """Training must stop; the message names the step and the samples."""


class MachineError(HocketError):
    """The disk, the memory or a permission stands in the way."""

    exit_code = 3


class MissingExtraError(HocketError):
    """An optional package is not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of hocket that carries it.
    """

    exit_code = 3

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Run: pip install 'hocket[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
