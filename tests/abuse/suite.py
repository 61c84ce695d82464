"""What a suite of abuse is: a table of cases, what each must end in, and how that is counted.

A case ends in one of three ways: refused, with an error made for its sender; answered; or either,
where only what must not happen is known. Anything else fails: another error, a canary that was
touched, a process that was lost where none may be.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from hocket._errors import HocketError
from hocket.media.guard import LostDecoderError

MOST_LINES = 3
MOST_CHARS = 900


class Size(StrEnum):
    """How much of a suite is run."""

    CI = "ci"
    NIGHTLY = "nightly"


class Expected(StrEnum):
    """What a case must end in."""

    REFUSED = "refused"
    ANSWERED = "answered"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Case:
    """One attempt.

    Attributes:
        name: what is tried; unique in its suite.
        run: tries it; raises what whoever tries would be told, or AssertionError.
        expected: what it must end in.
    """

    name: str
    run: Callable[[], object]
    expected: Expected = Expected.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A table of cases.

    Attributes:
        name: short name.
        tries: what is tried, for the table in the docs.
        means: what passing means, for the table.
        counts: cases of each size.
        cases: makes that many cases, given an empty folder.
        seconds: what one case may take.
        may_lose: whether the process that decodes may be lost; it then counts as refused.
    """

    name: str
    tries: str
    means: str
    counts: dict[Size, int]
    cases: Callable[[int, Path], Iterable[Case]]
    seconds: float = 30.0
    may_lose: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of a suite.

    Attributes:
        cases: how many were tried.
        refused: how many ended with an error for their sender.
        answered: how many were answered.
        lost: how many of the refused cost a process that decodes.
        seconds: time for all.
        slowest: time of the slowest, in seconds.
        failures: what went wrong, a line each.
    """

    cases: int = 0
    refused: int = 0
    answered: int = 0
    lost: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def run(suite: Suite, folder: Path, *, count: int, every: int = 1) -> Outcome:
    """Try the first cases of a suite, or of those every second, third and so on."""
    outcome = Outcome()
    names: set[str] = set()
    began = time.monotonic()
    for case in islice(suite.cases(count, folder), 0, count, every):
        assert case.name not in names, f"{suite.name}: two cases are called {case.name!r}"
        names.add(case.name)
        start = time.monotonic()
        problem = _tried(suite, case, outcome)
        taken = time.monotonic() - start
        outcome.cases += 1
        outcome.slowest = max(outcome.slowest, taken)
        if not problem and taken > suite.seconds:
            problem = f"took {taken:.1f} s, at most {suite.seconds:g} s are allowed"
        if problem:
            outcome.failures.append(f"{suite.name}: {case.name}: {problem}")
    outcome.seconds = time.monotonic() - began
    return outcome


def _tried(suite: Suite, case: Case, outcome: Outcome) -> str:
    """Try a case; return what went wrong."""
    try:
        found = case.run()
    except HocketError as error:
        outcome.refused += 1
        if isinstance(error, LostDecoderError):
            outcome.lost += 1
            if not suite.may_lose:
                return f"the decoder was lost: {error}"
        if case.expected is Expected.ANSWERED:
            return f"refused ({error}), expected an answer"
        return _fault_of(str(error))
    except Exception as error:  # whatever it is, it is what the suite looks for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    outcome.answered += 1
    if case.expected is Expected.REFUSED:
        return f"answered ({str(found)[:80]!r}), expected a refusal"
    return ""


def _fault_of(message: str) -> str:
    """Return what is wrong with a message to whoever sent the case."""
    if not message.strip() or "Traceback" in message:
        return f"the message is {message[:80]!r}"
    if len(message) > MOST_CHARS or message.count("\n") >= MOST_LINES:
        return f"a message of {len(message)} characters: {message[:200]!r}"
    return ""


def words(table: str) -> list[str]:
    """Return the words of a table."""
    return table.split()
