"""Samples that cannot be used: left out by name and counted, or the end of the run.

Every one is a line of JSON in a file beside the run, of the form that `hocket.data.quarantine`
reads, so the list of a run that stopped can be given to the next one as it is. Knows names and
counts; must not know media, tokens or models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hocket._errors import DataError, MachineError
from hocket.data.spec import OnBad

# Below this many samples one bad one is more than most shares, which says nothing.
_LEAST_SEEN = 200
_SHOWN = 3
_SHOWN_CHARS = 300


class BadSample(NamedTuple):
    """A sample that was left out.

    Attributes:
        dataset: name of its data set.
        row: its row in the file, rows left out counted too.
        id: its own id; empty when the row cannot be read.
        reason: what is wrong.
        position: place in the run, see `hocket.data.mixture`.
        lost: whether its decoder hung or crashed, which another time it may not.
    """

    dataset: str
    row: int
    id: str
    reason: str
    position: int
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPolicy:
    """What happens to samples that cannot be used.

    Attributes:
        max_bad_share: share of bad samples that stops the run.
        on_bad: whether the first one stops it.
        by_dataset: data sets with a rule of their own.
        file: the list of them, JSON lines that are only added to; None keeps none.
        stage: stage of the run, since positions start again with each.
    """

    max_bad_share: float = 0.01
    on_bad: OnBad = OnBad.SKIP
    by_dataset: Mapping[str, OnBad] = field(default_factory=dict)
    file: Path | None = None
    stage: str = ""


class BadSamples:
    """Writes bad samples down and says when there are too many; reads the lists of all ranks.

    A resumed run meets the same samples again: those that are written down already are not written
    twice, and those whose decoder was lost are left out again without a try, so that the rows of
    the steps that are done again hold what they held.

    Args:
        policy: what happens to them.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, policy: FaultPolicy) -> None:
        self._policy = policy
        self._known: set[int] = set()
        self._first: list[str] = []
        self.lost: dict[int, str] = {}
        if policy.file is not None:
            # Those of every rank: a run that goes on with fewer or more has other rows on each.
            for file in sorted(policy.file.parent.glob(f"{policy.file.name.partition('.')[0]}.*")):
                self._read(file)

    def add(self, bad: BadSample) -> None:
        """Write a sample down.

        Raises:
            DataError: its data set is to stop the run at the first bad sample.
            MachineError: the file cannot be written.
        """
        if len(self._first) < _SHOWN:
            self._first.append(bad.reason)
        if bad.position not in self._known:
            self._known.add(bad.position)
            self._write(bad)
        if self._policy.by_dataset.get(bad.dataset, self._policy.on_bad) is OnBad.STOP:
            raise DataError(
                f"a sample of {bad.dataset} cannot be used: {bad.reason} "
                f"Mend it, or leave such samples out with data.on_bad=skip."
            )

    def check(self, bad: int, seen: int) -> None:
        """Stop the run when more samples are bad than may be.

        Args:
            bad: bad ones since the start of the stage.
            seen: all since then.

        Raises:
            DataError: there are too many; the message names the list and the first of them.
        """
        share = self._policy.max_bad_share
        if bad / max(seen, _LEAST_SEEN) <= share:
            return
        file = self._policy.file
        listed = f" All are listed in {file}." if file else ""
        instead = f", leave them out with data.quarantine={file}" if file else ""
        first = " | ".join(" ".join(one.split())[:_SHOWN_CHARS] for one in self._first)
        raise DataError(
            f"{bad} of {seen} samples cannot be used, at most {share:.3g} of them may be.{listed}\n"
            f"The first: {first}\n"
            f"Mend the data{instead} or raise data.max_bad_share."
        )

    def _write(self, bad: BadSample) -> None:
        file = self._policy.file
        if file is None:
            return
        line = json.dumps(bad._asdict() | {"stage": self._policy.stage}) + "\n"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(line)
        except OSError as error:
            raise MachineError(f"{file} cannot be written ({error.strerror}).") from error

    def _read(self, file: Path) -> None:
        try:
            text = file.read_text("utf-8")
            # What a killed run wrote last may be half a line: it is found again and written whole.
            lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
            if text and not text.endswith("\n") and file == self._policy.file:
                file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
            for line in lines:
                if line["stage"] != self._policy.stage:
                    continue
                self._known.add(line["position"])
                if line["lost"]:
                    self.lost[line["position"]] = line["reason"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{file} is not the list of bad samples that a run keeps. Move it away."
            ) from error
