"""All rows of an audit: in several processes, in order, and going on where it was stopped.

What is known of rows is written down in chunks, a line of JSON each, while the audit runs. Another
run of the same audit takes the lines that are there; at the end the file is removed, since files
may change before the next. Knows chunks of rows; must not know what is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hocket._env import cache_dir
from hocket._errors import MachineError
from hocket.data.audit import AuditOptions, Finding, Kind, RowFacts
from hocket.data.audit.repeats import Repeats
from hocket.data.audit.row import RowAuditor
from hocket.data.audit.unseen import UnseenKeys
from hocket.data.joined import JoinedRows
from hocket.data.processes import in_processes

if TYPE_CHECKING:
    from hocket.tokens.processor import HocketProcessor

CHUNK_ROWS = 32


class _Work(NamedTuple):
    """What every process gets."""

    rows: JoinedRows
    options: AuditOptions
    processor: HocketProcessor | None
    chunk_rows: int


@dataclass(slots=True)
class Summary:
    """What an audit adds up.

    Attributes:
        rows: rows looked at.
        media: media in them.
        unusable: rows that training cannot use.
        tokens: tokens of all rows, where a model was given.
        learned: of these, the learned ones.
        longest: the longest rows first: length and row; tokens with a model, else characters.
    """

    rows: int = 0
    media: int = 0
    unusable: int = 0
    tokens: int = 0
    learned: int = 0
    longest: list[tuple[int, str]] = field(default_factory=list)

    def add(self, facts: RowFacts) -> None:
        """Count a row."""
        self.rows += 1
        self.media += len(facts.media)
        self.unusable += bool(facts.faults)
        self.tokens += facts.tokens
        self.learned += facts.learned
        name = f"{facts.dataset} row {facts.row}"
        longest = [*self.longest, (facts.tokens or facts.characters, name)]
        self.longest = sorted(longest, key=lambda one: -one[0])[:3]


def audit(
    rows: JoinedRows,
    options: AuditOptions,
    *,
    processor: HocketProcessor | None = None,
    processes: int = 1,
    journal: Path | None = None,
    summary: Summary | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Finding]:
    """Yield everything that is wrong, in the order of the rows, then keys that nobody reads.

    Args:
        rows: what is looked at.
        options: how much is looked at.
        processor: that of the model, for lengths and labels; None leaves them out.
        processes: how many look at the same time.
        journal: file that a stopped audit leaves behind and the next one goes on from.
        summary: is added up.
        progress: called with numbers of rows that are done.

    Raises:
        MachineError: the journal cannot be written.
    """
    repeats, unseen = Repeats(), UnseenKeys()
    work = _Work(rows, options, processor, CHUNK_ROWS)
    for facts in _all_facts(work, processes, journal, progress):
        if summary is not None:
            summary.add(facts)
        for kind, reason in facts.faults:
            yield Finding(kind, facts.dataset, facts.row, facts.id, reason)
        unseen.add(facts)
        yield from repeats.add(facts)
    yield from unseen.findings()
    if journal is not None:
        journal.unlink(missing_ok=True)


def journal_of(rows: JoinedRows, options: AuditOptions, words: dict[str, str]) -> Path:
    """Return where an audit keeps what it knows: another file for other data or options.

    Args:
        rows: what is looked at.
        options: how much is looked at.
        words: whatever else makes it another audit: paths, their times of change, the model.
    """
    plain = {"rows": rows.sizes(), "options": asdict(options), "words": words}
    text = json.dumps(plain, sort_keys=True, default=str)
    stamp = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()
    return cache_dir() / "check" / f"{stamp}.jsonl"


def _all_facts(
    work: _Work, processes: int, journal: Path | None, progress: Callable[[int], None] | None
) -> Iterator[RowFacts]:
    """Yield what is known of every row, in order."""
    waiting = _read(journal) if journal else {}
    chunks = range(-(-len(work.rows) // work.chunk_rows))
    left = [number for number in chunks if number not in waiting]
    following = 0

    def in_order() -> Iterator[RowFacts]:
        nonlocal following
        while following in waiting:
            chunk = waiting.pop(following)
            following += 1
            if progress:
                progress(len(chunk))
            yield from chunk

    yield from in_order()
    try:
        for number, chunk in in_processes(_look_at, work, left, processes=processes):
            if journal:
                _write(journal, number, chunk)
            waiting[number] = chunk
            yield from in_order()
    finally:
        _close_auditors()


# The auditor of a process: it remembers media over chunks. Keyed by what it was made for.
_auditors: list[tuple[_Work, RowAuditor]] = []


def _look_at(work: _Work, number: int) -> list[RowFacts]:
    if not _auditors or _auditors[0][0] is not work:
        _close_auditors()
        _auditors.append((work, RowAuditor(work.rows, work.options, work.processor)))
    first, size = number * work.chunk_rows, work.chunk_rows
    rows = range(first, min(first + size, len(work.rows)))
    return [_auditors[0][1].look(index) for index in rows]


def _close_auditors() -> None:
    while _auditors:
        _auditors.pop()[1].close()


def _write(journal: Path, number: int, chunk: list[RowFacts]) -> None:
    line = json.dumps({"chunk": number, "rows": chunk}) + "\n"
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("a", encoding="utf-8") as stream:
            stream.write(line)
    except OSError as error:
        raise MachineError(
            f"{journal} cannot be written ({error.strerror}). Free some space or set HOCKET_CACHE."
        ) from error


def _read(journal: Path) -> dict[int, list[RowFacts]]:
    """Return the chunks that are written down; a line that was cut off is done again."""
    found: dict[int, list[RowFacts]] = {}
    try:
        whole = journal.read_text("utf-8")
        kept = whole[: whole.rfind("\n") + 1]
        for line in kept.splitlines():
            entry = json.loads(line)
            found[entry["chunk"]] = [_facts(row) for row in entry["rows"]]
        if kept != whole:
            journal.write_text(kept, encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError):
        # Nothing is lost but time.
        journal.unlink(missing_ok=True)
        return {}
    return found


def _facts(row: list[object]) -> RowFacts:
    facts = RowFacts(*row)  # type: ignore[arg-type] # the fields in order, as JSON
    return facts._replace(
        faults=tuple((Kind(kind), reason) for kind, reason in facts.faults),
        media=tuple((name, digest) for name, digest in facts.media),
        unseen=tuple(facts.unseen),
    )
